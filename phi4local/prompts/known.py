"""Which chat template counts: the file's own, or the published one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.errors import ChatTemplateError
from phi4local.prompts.template import ChatTemplate

if TYPE_CHECKING:
    from phi4local.catalog import Manifest


def choose_template(
    file_template: str | None, manifest: Manifest | None, *, bos_token: str = "", eos_token: str = ""
) -> tuple[ChatTemplate, str | None]:
    """Return the template to use, and a line that a person should see about it.

    The file's template counts, because the model was made with it. It is also a way to put words into
    every conversation, which no scan of the weights shows; so a text that is not a published one is named.

    Args:
        file_template: `tokenizer.chat_template` of the file; `None` or blank if it has none.
        manifest: the family member that the file is, if it is a known one.
        bos_token: text of the file's token that begins a document.
        eos_token: text of the file's token that ends one.

    Example: `choose_template(None, catalog.find("phi-4"))` is the manifest's template and `None`.

    Raises:
        ChatTemplateError: there is no template, or the file's cannot be used.
    """
    if file_template is not None and file_template.strip():
        return ChatTemplate(file_template, bos_token=bos_token, eos_token=eos_token), _notice(
            file_template, manifest
        )
    if manifest is None:
        raise ChatTemplateError(
            "the file has no chat template, and it is no model that phi4local knows one for",
            hint="convert the model again from a checkpoint with a chat template, or use plain completion",
        )
    return ChatTemplate(manifest.chat_template, bos_token=bos_token, eos_token=eos_token), None


def _notice(file_template: str, manifest: Manifest | None) -> str | None:
    """Return the warning about a template that nobody is known to have published."""
    if manifest is None:
        return (
            "this file's chat template is not one that phi4local knows; "
            "it decides how your messages reach the model"
        )
    if manifest.has_template(file_template):
        return None
    return (
        f"this file's chat template is not one that was published for {manifest.name}; "
        "it decides how your messages reach the model"
    )
