"""Names of file types, compared with the gguf package's enum."""

import gguf as oracle

from phi4local.gguf.file_types import FILE_TYPES


def test_every_name_is_llama_cpps():
    for number, name in FILE_TYPES.items():
        expected = oracle.LlamaFileType(number).name
        assert expected == ("ALL_F32" if name == "F32" else f"MOSTLY_{name}")
