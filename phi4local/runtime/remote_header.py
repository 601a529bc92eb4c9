"""Read the header of a GGUF file on a server, check it, and say what is wrong with the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from phi4local import gguf
from phi4local.errors import GGUFError
from phi4local.prompts import choose_template
from phi4local.runtime.facts import FileFacts, file_facts
from phi4local.store import download

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phi4local.gguf import Header
    from phi4local.store.remote import RemoteFile


def remote_facts(files: Sequence[RemoteFile]) -> FileFacts:
    """Return the facts of a model on a server after checking its header; the weights stay there.

    Args:
        files: the GGUF file, or all parts of one.

    Raises:
        GGUFError: no Phi-4 model, or a damaged header; nothing was written.
        DownloadError: the server does not answer.
    """
    by_name = {Path(file.path).name: file for file in files}

    def read(path: Path) -> Header:
        file = by_name.get(path.name)
        if file is None:
            raise GGUFError(
                path, "is a part that the server does not have", hint="choose another quantization"
            )
        return gguf.read_header_of(
            lambda offset, count: download.read_range(file, offset, count), path, file.size_bytes
        )

    first = min(files, key=lambda file: file.path)
    return file_facts(gguf.validate(Path(first.path), read=read))


def defects(facts: FileFacts) -> Iterator[str]:
    """Yield one line for each thing that a person should know about a model before it is here.

    Raises:
        ChatTemplateError: its chat template cannot be used.
    """
    _, notice = choose_template(
        facts.chat_template, facts.manifest, bos_token=facts.bos_token, eos_token=facts.eos_token
    )
    if notice:
        yield notice
    for defect in facts.manifest.defects if facts.manifest else ():
        if defect.what == "eos" and facts.eos_token == defect.found:
            yield f"its end token is `{defect.found}` instead of `{defect.right}`: {defect.why}"
        if defect.what == "chat_template" and facts.manifest and facts.chat_template:
            known = facts.manifest.known_templates
            if facts.chat_template in known and facts.chat_template != facts.manifest.chat_template:
                yield f"its chat template is the first published one: {defect.why}"
