"""What the server says of itself when it starts, in about eight lines."""

from __future__ import annotations

import json

from .about import About


def banner(about: About, host: str, port: int) -> str:
    """Version, model, engine, rewards, sandbox, addresses, and a line to paste."""
    told = about.describe()
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    base = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"
    context = told["engine"]["max_model_len"]
    here = [name for name, reward in told["rewards"].items() if reward["available"]]
    missing = [name for name, reward in told["rewards"].items() if not reward["available"]]
    rewards = ", ".join(here) or "none"
    if missing:
        rewards += f"  (not here: {', '.join(missing)})"
    replicas = [each["url"] + ("" if each["up"] else " (down)") for each in told["engine"].get("replicas", ())]
    sandbox = "none: code is not run" if told["sandbox"] is None else told["sandbox"]["tier"]
    body = {"model": told["model"], "messages": [{"role": "user", "content": "Say hello."}]}
    key = " -H 'Authorization: Bearer KEY'" if about.needs_key else ""
    curl = f"curl {base}/v1/chat/completions -H 'Content-Type: application/json'{key} -d '{json.dumps(body)}'"
    lines = {
        "smc-decode": told["version"],
        "model": told["model"],
        "engine": told["engine"]["name"]
        + (f", context of {context} tokens" if context else "")
        + (f", at {', '.join(replicas)}" if replicas else ""),
        "preset": told["preset"],
        "rewards": rewards,
        "sandbox": sandbox,
        "serving": f"{base}/v1   page {base}/   state {base}/ready   metrics {base}/metrics",
        "try": curl,
    }
    return "\n".join(f"{name:<11} {value}" for name, value in lines.items())
