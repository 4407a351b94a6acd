"""Names of modules that have moved: the old one still imports, with a DeprecationWarning, until version 0.4."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class MovedModules(MetaPathFinder, Loader):
    """Imports a module's old name as a stand-in that reads every attribute from where the module is now."""

    def __init__(self, package: str, moved: Mapping[str, str]) -> None:
        self._moved = {f"{package}.{old}": f"{package}.{new}" for old, new in moved.items()}

    def install(self) -> None:
        """Ask this after everything else: a module that exists goes first."""
        sys.meta_path.append(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in self._moved else None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        new = self._moved[module.__name__]
        warnings.warn(f"{module.__name__} is now {new}", DeprecationWarning, stacklevel=2)
        present = importlib.import_module(new)
        vars(module)["__getattr__"] = lambda name: getattr(present, name)


LIBRARY = MovedModules(
    "smc_decode",
    {
        "weights": "laws.weights",
        "resampling": "laws.resampling",
        "targets": "laws.targets",
        "lookahead": "laws.lookahead",
        "rejuvenation": "laws.metropolis",
        "population": "sampler.state",
        "paths": "sampler.trajectory",
        "proposal": "sampler.proposal",
        "rollouts": "sampler.rollouts",
        "moves": "sampler.moves.metropolis",
        "bridging": "sampler.bridging",
        "scoring": "sampler.scoring",
        "budget": "sampler.budget",
        "stopping": "sampler.stop_strings",
        "draw_tree": "sampler.draw_tree",
        "selection": "answers.selection",
        "extractors": "answers.extractors",
        "models": "engines.bundled_model",
        "engines.vllm_settings": "engines.vllm.settings",
        "engines.vllm_env": "engines.vllm.environment",
        "engines.vllm_tokenizer": "engines.vllm.tokenizer",
        "engines.vllm_messages": "engines.vllm.messages",
        "engines.vllm_process": "engines.vllm.process",
        "engines.vllm_worker": "engines.vllm.inside.worker",
        "engines.vllm_sampler": "engines.vllm.inside.sampler",
        "engines.vllm_grammar": "engines.vllm.inside.grammar",
        "engines.vllm_partial": "engines.vllm.inside.partial_hits",
        "engines.vllm_copies": "engines.vllm.inside.block_copies",
        "engines.vllm_served": "engines.vllm.inside.served_rows",
        "engines.remote_check": "engines.remote.checks",
        "engines.remote_law": "engines.remote.law",
        "engines.remote_replicas": "engines.remote.replicas",
        "engines.remote_settings": "engines.remote.settings",
        "engines.remote_tokenizer": "engines.remote.tokenizer",
        "engines.remote_wire": "engines.remote.wire",
        "potentials.unit_tests": "potentials.code.unit_tests",
        "potentials.stdin_tests": "potentials.code.stdin_tests",
        "potentials.prompt_examples": "potentials.code.prompt_examples",
        "potentials.examples": "potentials.code.examples",
        "potentials.code_prefix": "potentials.code.program",
        "potentials.probes": "potentials.code.probes",
        "potentials.arithmetic": "potentials.mathematics.arithmetic",
        "potentials.equalities": "notation.claims",
        "potentials.judges": "potentials.models.judges",
        "potentials.judge_models": "potentials.models.judge_models",
        "potentials.local_models": "potentials.models.local_models",
        "potentials.remote_models": "potentials.models.remote_models",
        "potentials.outcome_reward": "potentials.models.outcome_reward",
        "potentials.process_reward": "potentials.models.process_reward",
        "potentials.verifier": "potentials.models.verifier",
        "potentials.confidence": "potentials.models.confidence",
        "potentials.json_schema": "potentials.text.json_schema",
        "potentials.regular_expression": "potentials.text.regular_expression",
        "potentials.entry_point": "potentials.own.entry_point",
        "potentials.http": "potentials.own.http",
        "potentials.ensemble": "potentials.mixtures.ensemble",
        "potentials.fuse": "potentials.mixtures.fuse",
        "potentials.self_consistency": "potentials.mixtures.self_consistency",
        "potentials.workers": "workers.pool",
        "potentials.worker_tasks": "workers.tasks",
    },
)
