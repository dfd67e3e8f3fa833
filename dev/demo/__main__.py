"""`python -m dev.demo KUBECTL KUBECONFIG`: tell the story, exit 0 only if all of it happened."""

from __future__ import annotations

import subprocess
import sys
import time

from dev.demo.kubectl import Failed, Kubectl
from dev.demo.story import NAMESPACE, ROOT, Story
from dev.demo.view import Screen, duration


def main() -> int:
    """Run all acts in order."""
    program, kubeconfig = sys.argv[1:3]
    screen = Screen()
    started = time.monotonic()
    story = Story(kubectl=Kubectl(program, kubeconfig, NAMESPACE), screen=screen)
    try:
        story.install()
        story.clean()
        subprocess.run(
            [sys.executable, "-m", "dev.cluster", "credentials", NAMESPACE], cwd=ROOT, check=True
        )
        story.load("Load the flights of January to May 2013", "00-data.yaml", "load-flights")
        story.train("Train on the schedule alone", "10-train-schedule.yaml", "delays-schedule")
        story.serve()
        story.train("Train with the weather", "30-train-weather.yaml", "delays-weather")
        story.promote("2")
        story.train("Train on planes of known age", "40-train-planes.yaml", "delays-planes")
        story.roll_back("3")
        story.stay_rejected("3")
        story.load("June arrives", "50-june.yaml", "load-june")
        story.find_drift()
        retrained = story.retrain()
        story.promote(retrained)
        story.agree(retrained)
        story.summary()
    except Failed as error:
        screen.say(f"\nThe demo failed: {error}")
        return 1
    except KeyboardInterrupt:
        screen.say("\nstopped; `make demo` starts over, `make demo-down` takes it away")
        return 130
    screen.say(f"All of it happened, in {duration(time.monotonic() - started)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
