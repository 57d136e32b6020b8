"""Plays a demo, or runs a deployment on LocalStack for manual tests."""

import argparse
import signal
import sys
from pathlib import Path

from . import demo, demo_ab, pictures, standalone, upgrade
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
        print("# Press Ctrl-C to stop it.", flush=True)
        signal.pause()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="harness", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    keep = commands.add_parser("up", help="run a deployment until Ctrl-C")
    keep.add_argument("--bare", action="store_true", help="run only LocalStack and the simulated SageMaker, with nothing deployed")
    play = commands.add_parser("demo", help="play the whole loop and check the result")
    play.add_argument("--report", type=Path, help="your constraint_violations.json to play as drift")
    commands.add_parser("demo-standalone", help="play the loop without Model Monitor: a served model drifts and is retrained")
    commands.add_parser("demo-ab", help="test five candidates on live traffic: promoted, rolled back, inconclusive, invalid")
    commands.add_parser("pictures", help="take the pictures of the documents from the pages of the last demo")
    across = commands.add_parser("upgrade", help="play an incident across an upgrade from another release and a roll back")
    across.add_argument("before", type=Path, help="folder with the built functions of the other release, such as target/lambda")
    arguments = parser.parse_args()
    try:
        if arguments.command == "pictures":
            return pictures.take()
        if arguments.command == "upgrade":
            return upgrade.play(arguments.before.resolve())
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
