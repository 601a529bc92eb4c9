"""A model on a server: the interface of `runtime.model` over OpenAI's HTTP interface.

No segments and no kept ids: the server has the template and the cache. Only the standard library is used.
"""
