import shutil

import pytest
import torch

from tests.random_checkpoint import NANO

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json")


@pytest.fixture(scope="package", autouse=True)
def _one_thread():
    """Two processes of tests on two cores: more threads than cores wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def small(tmp_path_factory):
    """A checkpoint of one layer with random weights, and phi4-nano's tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("checkpoint")
    config = AutoConfig.from_pretrained(NANO)
    config.num_hidden_layers, config.hidden_size, config.intermediate_size = 1, 64, 128
    config.num_attention_heads, config.num_key_value_heads = 4, 2
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    for name in TOKENIZER:
        shutil.copy(NANO / name, folder / name)
    return folder
