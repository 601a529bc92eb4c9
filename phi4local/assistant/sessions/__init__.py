"""Conversations that are kept: one file each, written as things happen."""
