"""The stopwatch of a survivor."""

from bertjob_trainer.recovery import Recovery


def test_time_is_split_by_phase() -> None:
    """Each phase lasts from the end of the one before, and the next recovery starts from nothing."""
    watch = Recovery()
    assert watch.stepped(10.0) is None
    watch.lost(10.5, is_loss=False)
    for phase, now in (("place", 11.5), ("form", 11.75), ("restore", 12.0)):
        watch.reached(phase, now)
    assert watch.stepped(12.5) == (
        "stepping again after 2.50 s (a change of size): detect 0.50, place 1.00, form 0.25, restore 0.25, first step 0.50"
    )
    assert watch.stepped(13.0) is None


def test_second_loss_is_part_of_the_recovery() -> None:
    """A loss before the first step adds to the same recovery."""
    watch = Recovery()
    watch.stepped(0.0)
    watch.lost(1.0, is_loss=True)
    watch.reached("place", 3.0)
    watch.lost(4.0, is_loss=False)
    watch.reached("place", 6.0)
    assert watch.stepped(7.0) == (
        "stepping again after 7.00 s (a loss): detect 2.00, place 4.00, form 0.00, restore 0.00, first step 1.00"
    )
    assert watch.newest is not None
    assert (watch.newest.reason, watch.newest.seconds, watch.newest.place) == ("Loss", 7.0, 4.0)


def test_new_worker_recovers_from_nothing() -> None:
    """The first round of a worker is no recovery, nor is a loss before its first step."""
    watch = Recovery()
    watch.reached("place", 1.0)
    watch.lost(2.0, is_loss=True)
    assert watch.stepped(3.0) is None
