"""Plans that once kept a device from being current, as they were drawn (rounded), by what was wrong."""

from __future__ import annotations

from tests.network.plan import BOTH, DOWN, UP, Away, Fault, Plan

FOUND = {
    "what the server said calmed a probe, while nothing reached the server any more": Plan(
        seed=79130,
        mode="hold",
        seconds=3.95,
        faults=(
            Fault(1.46, "dribble", DOWN, 0.31),
            Fault(2.11, "freeze", DOWN, 1.1),
            Fault(2.39, "black_hole", UP, 1.46),
        ),
        absences=(),
    ),
    "a foreground notice was said again and again into a dead connection": Plan(
        seed=114192,
        mode="hold",
        seconds=3.82,
        faults=(
            Fault(0.06, "freeze", BOTH, 0.67),
            Fault(0.96, "black_hole", UP, 0.61),
            Fault(1.1, "cut_in_body", UP, 1.09),
            Fault(1.82, "latency", DOWN, 1.23),
            Fault(3.03, "dribble", DOWN, 0.57),
        ),
        absences=(Away(0.93, 0.63), Away(2.93, 0.73)),
    ),
    "a pull waited 30 s in a dead connection of the pool": Plan(
        seed=593211,
        mode="pull",
        seconds=2.93,
        faults=(
            Fault(0.0, "half_close", DOWN, 1.29),
            Fault(0.17, "no_sockets", BOTH, 2.76),
            Fault(0.88, "latency", BOTH, 0.57),
            Fault(2.42, "black_hole", DOWN, 0.51),
        ),
        absences=(Away(2.76, 0.28),),
    ),
    "a pull waited 30 s, with values": Plan(
        seed=565316,
        mode="hold",
        seconds=2.79,
        faults=(
            Fault(0.38, "no_sockets", BOTH, 2.41),
            Fault(0.73, "dribble", DOWN, 0.99),
            Fault(1.47, "cut_in_body", DOWN, 0.96),
            Fault(1.49, "black_hole", BOTH, 1.19),
        ),
        absences=(Away(2.53, 0.43),),
    ),
    "results were posted into a dead connection, without an end": Plan(
        seed=92068,
        mode="pull",
        seconds=2.98,
        faults=(
            Fault(0.38, "no_sockets", BOTH, 2.6),
            Fault(0.7, "dribble", BOTH, 0.75),
            Fault(1.45, "latency", DOWN, 0.25),
            Fault(2.49, "reset", UP, 0.46),
            Fault(2.62, "freeze", BOTH, 0.32),
        ),
        absences=(Away(0.75, 0.66), Away(1.64, 0.11)),
    ),
    "a hello that was late was refused for good": Plan(
        seed=394147,
        mode="hold",
        seconds=3.32,
        faults=(
            Fault(0.29, "no_sockets", BOTH, 3.04),
            Fault(0.9, "freeze", DOWN, 1.0),
            Fault(1.84, "black_hole", BOTH, 1.34),
            Fault(1.89, "dribble", UP, 1.02),
        ),
        absences=(Away(1.87, 0.73),),
    ),
    "an attempt to connect that was young when the network came back had its 15 s": Plan(
        seed=901581,
        mode="replay",
        seconds=2.17,
        faults=(
            Fault(0.61, "black_hole", UP, 1.33),
            Fault(0.79, "freeze", BOTH, 0.51),
            Fault(0.9, "half_close", DOWN, 1.15),
            Fault(0.91, "reset", UP, 0.25),
            Fault(1.63, "latency", BOTH, 0.45),
        ),
        absences=(),
    ),
}
