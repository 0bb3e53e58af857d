"""Have the arm pick up the red cube, and say how it fares."""

from vla_entropy_ros.client import Until, VlaClient

with VlaClient() as arm:
    arm.trigger("simulator/reset")  # a new scene
    if not (answer := arm.enable()):
        raise SystemExit(answer.words)
    answer = arm.run("pick up the red cube", timeout=30.0, until=Until.topic("simulator/success"))
    while not arm.is_done:
        print(f"{arm.feedback.motion}, {arm.feedback.ticks} ticks")
        arm.wait(0.5)
    print(arm.result or answer.words)
