"""vLLM in a process of its own, as an engine. Importing this imports neither torch nor vllm."""

from smc_decode.engines.vllm.engine import VLLMEngine
from smc_decode.engines.vllm.settings import VLLMSettings

__all__ = ["VLLMEngine", "VLLMSettings"]
