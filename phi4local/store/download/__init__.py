"""Bytes from a server: parallel, resumed across processes, proved while they come, published last."""

from phi4local.store.download.fetch import Fetched, fetch, recorded_bytes
from phi4local.store.download.settings import DownloadSettings, Report
from phi4local.store.download.stream import read_range

__all__ = ["DownloadSettings", "Fetched", "Report", "fetch", "read_range", "recorded_bytes"]
