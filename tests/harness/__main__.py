"""`python -m harness demo` plays the demo, `demo-standalone` the one without Model Monitor, `demo-ab` that of candidates and
champions; `up` keeps a deployment up to look around in."""

import argparse
import signal
import sys
from pathlib import Path

from . import demo, demo_ab, standalone
from .stack import Failed, running
from .world import World


def up(bare: bool) -> int:
    with running() as stack:
        outputs = {} if bare else World(stack, name="driftwarden").outputs
        print(f"export AWS_ENDPOINT_URL={stack.url}")
        print(f"export AWS_ENDPOINT_URL_SAGEMAKER={stack.sagemaker_url}")
        print("export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1")
        for name, value in outputs.items():
            print(f"# {name} = {value}")
        print("# Ctrl-C ends it.", flush=True)
        signal.pause()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="harness", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    keep = commands.add_parser("up", help="keep a deployment up until Ctrl-C")
    keep.add_argument("--bare", action="store_true", help="LocalStack and the SageMaker stand-in alone, with nothing deployed")
    play = commands.add_parser("demo", help="play the demo and check the world at its end")
    play.add_argument("--report", type=Path, help="a constraint_violations.json of your own to play")
    commands.add_parser("demo-standalone", help="the loop with no Model Monitor at all: a real model, served, drifting, retrained")
    commands.add_parser("demo-ab", help="five candidates against their champions, on live traffic: promoted, rolled back, not trusted")
    arguments = parser.parse_args()
    try:
        if arguments.command == "demo-standalone":
            return standalone.play()
        if arguments.command == "demo-ab":
            return demo_ab.play()
        return up(arguments.bare) if arguments.command == "up" else demo.play(arguments.report)
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
