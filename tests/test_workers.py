"""The engine among threads of the caller, in forked processes, with more workers than cores, and under Ctrl-C."""

import copy
import multiprocessing
import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest
from networks import CLASSES, NETWORKS, assert_same, twins

import minicnn
from minicnn import Sequential, layers, memory, warmup
from minicnn import tape as tapes
from minicnn.callbacks import Callback
from minicnn.optimizers import Adam

PATIENCE = 20  # seconds after which a process counts as hanging
forking = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
interrupting = pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")


@pytest.fixture(autouse=True)
def interrupts():
    """SIGINT is a KeyboardInterrupt here, also where a shell that runs the tests in its background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def always(monkeypatch):
    """Helpers are called for every run, also a short one, and none spins."""
    monkeypatch.setattr(tapes, "SHORT", 0)
    monkeypatch.setattr(tapes, "spinning", lambda: 0)
    monkeypatch.setattr(tapes, "boxes", lambda: (0, 0))


def plain():
    """A network whose steps change nothing but weights, moments and their number."""
    minicnn.set_random_seed(3)
    model = Sequential(
        [
            layers.Input((10, 10, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    model.compile(Adam(0.01), "sparse_categorical_crossentropy")
    random = np.random.default_rng(0)
    return model, random.standard_normal((24, 10, 10, 1)).astype("float32"), random.integers(0, CLASSES, 24)


def in_child(function):
    """What a function returns in a forked process; fails if that hangs or dies."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
        child = context.Process(target=lambda: there.send(function()), daemon=True)
        child.start()
    there.close()
    try:
        assert here.poll(PATIENCE), "the child hangs"
        return here.recv()
    finally:
        child.kill()
        child.join()


@forking
def test_a_fork_while_another_thread_takes_memory():
    with memory.POOL.lock:  # this thread is not in the child, but the lock would be as it is
        done = []
        thread = threading.Thread(target=lambda: done.append(in_child(lambda: memory.POOL.empty((3,), "int8").size)))
        thread.start()
        thread.join(PATIENCE)
    thread.join()
    assert done == [3]


# ---------------------------------------------------------------------- threads


def test_threads_of_the_caller_train_models_of_their_own(threads):
    threads(3)
    names = ["lenet", "Winograd 3", "strides, batch normalisation and dropout", "a layer of one's own"]
    models = {name: twins(NETWORKS[name].model()) for name in names}

    def train(name, model):
        for seed in range(6):
            x, y = NETWORKS[name].data(seed=seed)
            model.train_step(x, y)
            model.predict(x, 7)

    callers = [threading.Thread(target=train, args=(name, model)) for name, (model, _) in models.items()]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for name, (model, eager) in models.items():
        train(name, eager)
        assert_same(model, eager)


@forking
def test_threads_of_the_caller_ask_one_model():
    def ask():
        minicnn.set_threads(3)
        model, x, y = plain()
        samples = [np.roll(x, k) for k in range(4)]
        expected = [model.predict(x) for x in samples]
        wrong = []

        def work(k):
            for _ in range(50):
                if not np.array_equal(model.predict(samples[k]), expected[k]):
                    wrong.append(k)

        callers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        return len(wrong)

    assert in_child(ask) == 0


def test_any_number_of_threads_from_step_to_step(threads):
    name = "strides, batch normalisation and dropout"
    model, eager = twins(NETWORKS[name].model())
    x, y = NETWORKS[name].data()
    for number in (1, 64, 2, 3, 16, 1, 5):
        threads(number)
        model.train_step(x, y)
        threads(number % 3 + 1)
        eager.train_step(x, y)
        assert_same(model, eager)


def test_training_without_a_free_helper(threads, monkeypatch, always):
    """They are busy elsewhere, or have not come yet; nobody waits for them."""
    threads(5)
    jobs = []
    monkeypatch.setattr(tapes, "call_helper", jobs.append)
    model, x, y = plain()
    model, eager = twins(model)
    for _ in range(2):
        model.train_step(x, y)
        eager.train_step(x, y)
    assert len(jobs) >= 8
    assert_same(model, eager)
    for job in jobs:
        job()
    assert_same(model, eager)


@forking
def test_training_where_no_thread_can_be_started(monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    def train():
        monkeypatch.setattr(threading.Thread, "start", start)
        minicnn.set_threads(3)
        return model.train_step(x, y)[0]

    model, x, y = plain()
    assert in_child(train) == model.train_step(x, y)[0]


def test_a_model_that_cannot_be_described_is_compiled_by_one_process():
    class Secret(layers.Layer):
        def get_config(self):
            raise RuntimeError("cannot be described")

    model = Sequential([layers.Input((3,)), Secret(), layers.Dense(2)])
    with warmup.Helper(model, "predict", 1) as helper:
        helper.start()
        assert helper.process is None


# ---------------------------------------------------------------------- fork


@forking
@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_forked_process_goes_on(threads, number):
    threads(number)
    model, x, y = plain()
    model.train_step(x, y)

    def go_on():
        losses = [model.train_step(x, y)[0] for _ in range(2)]
        return losses, model.get_weights(), model.predict(x)

    in_the_child = in_child(go_on)
    here = go_on()
    assert in_the_child[0] == here[0]
    for one, other in zip([*in_the_child[1], in_the_child[2]], [*here[1], here[2]], strict=True):
        np.testing.assert_array_equal(one, other)


@forking
def test_a_forked_process_has_helpers_of_its_own(threads):
    """Its threads are all there at the same time."""
    threads(3)
    model, x, y = plain()
    model.train_step(x, y)

    def meet():
        together, come = threading.Barrier(3), []

        def job():
            come.append(together.wait(5))

        tapes.call_helper(job)
        tapes.call_helper(job)
        job()
        return len(come)

    assert in_child(meet) > 0


@forking
@pytest.mark.parametrize("same", [False, True])
def test_a_fork_while_another_thread_trains(threads, same):
    """Another model, or the one that the child then uses, with weights of its own."""
    threads(3)
    model, x, y = plain()
    weights = model.get_weights()
    other = model if same else plain()[0]
    model.predict(x)
    stop, stopped = threading.Event(), []

    def train():
        while not stop.is_set():
            other.train_step(x, y)
        stopped.append(True)

    trainer = threading.Thread(target=train)
    trainer.start()

    def use():
        model.set_weights(weights)
        return model.train_step(x, y)[0]

    try:
        found = [in_child(use) for _ in range(3)]
    finally:
        stop.set()
        trainer.join()
    assert found == [use()] * 3 and stopped == [True]


# ---------------------------------------------------------------------- Ctrl-C


class Interrupt(Callback):
    """Presses Ctrl-C after so many batches."""

    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_fit_goes_on_after_an_interrupt_between_steps(threads):
    threads(2)
    name = "strides, batch normalisation and dropout"
    models = twins(NETWORKS[name].model())
    x, y = NETWORKS[name].data(30)
    for model in models:
        with pytest.raises(KeyboardInterrupt):
            model.fit(x, y, batch_size=7, epochs=3, verbose=0, callbacks=[Interrupt(7)])
        assert model.optimizer.iterations == 7
        model.fit(x, y, batch_size=7, epochs=1, verbose=0)
    assert_same(*models)


@interrupting
@pytest.mark.parametrize("helped", [False, True])
@pytest.mark.parametrize("before", [1, 2])
def test_an_interrupt_while_helpers_are_called(threads, monkeypatch, always, before, helped):
    """The step it falls into has been done or not, and the next is one step."""
    threads(3)
    model, x, y = plain()
    model, eager = twins(model)
    for each in (model, eager):
        each.train_step(x, y)
    model.predict(x)
    really, calls = tapes.call_helper, []

    def hand_over(job):
        calls.append(job)
        if len(calls) == before:
            if helped:
                really(job)
            signal.raise_signal(signal.SIGINT)
        else:
            really(job)

    monkeypatch.setattr(tapes, "call_helper", hand_over)
    with pytest.raises(KeyboardInterrupt):
        model.train_step(-x, y)
    monkeypatch.undo()
    if model.optimizer.iterations == 2:
        eager.train_step(-x, y)
    assert_same(model, eager, gradients=False)
    np.testing.assert_array_equal(model.predict(x), eager.predict(x))
    for _ in range(2):
        model.train_step(x, y)
        eager.train_step(x, y)
        assert_same(model, eager)


class CtrlC:
    """A thread that presses Ctrl-C after a while, again and again until a KeyboardInterrupt has been raised."""

    def __init__(self):
        self.armed = threading.Event()

    def handler(self, number, frame):
        if self.armed.is_set():
            self.armed.clear()
            raise KeyboardInterrupt

    def press(self, delay):
        while self.armed.is_set():
            time.sleep(delay)
            os.kill(os.getpid(), signal.SIGINT)

    def during(self, function, delay):
        """Calls the function again and again until it is interrupted."""
        thread = threading.Thread(target=self.press, args=(delay,))
        try:
            self.armed.set()
            thread.start()
            while self.armed.is_set():  # an interrupt that falls into a finalizer is swallowed
                function()
        except KeyboardInterrupt:
            pass
        finally:
            self.armed.clear()
            thread.join()


@pytest.fixture
def ctrl_c():
    found = CtrlC()
    before = signal.signal(signal.SIGINT, found.handler)
    yield found
    signal.signal(signal.SIGINT, before)


@interrupting
def test_an_interrupt_in_the_middle_of_a_step(threads, ctrl_c):
    """Wherever it falls, the weights are those after some number of whole steps, and training goes on from there."""
    threads(3)
    model, x, y = plain()
    for attempt in range(12):
        path, known = copy.deepcopy(model), []
        model.predict(x)
        ctrl_c.during(lambda: model.train_step(x, y), 0.002 + 0.0017 * attempt)
        np.testing.assert_array_equal(model.predict(x), copy.deepcopy(model).predict(x))
        for _ in range(path.optimizer.iterations, model.optimizer.iterations + 2):
            known.append([path.optimizer.iterations, *path.get_weights()])
            path.train_step(x, y)
        steps = [entry[0] for entry in known if all(map(np.array_equal, entry[1:], model.get_weights()))]
        assert steps and abs(steps[0] - model.optimizer.iterations) <= 1
        fresh = copy.deepcopy(model)
        for each in (model, fresh):
            each.train_step(x, y)
        assert_same(model, fresh)


@interrupting
def test_fit_goes_on_after_interrupts_in_the_middle(threads, ctrl_c):
    threads(3)
    name = "strides, batch normalisation and dropout"
    model = NETWORKS[name].model()
    start = model.get_weights()
    x, y = NETWORKS[name].data(30)
    for attempt in range(12):
        ctrl_c.during(
            lambda: model.fit(x, y, batch_size=7, epochs=20, verbose=0, validation_split=0.2), 0.001 + 0.0023 * attempt
        )
    for each in (model, fresh := copy.deepcopy(model)):
        each.set_weights(start)
        each.compile("sgd", "sparse_categorical_crossentropy")
        each.fit(x, y, batch_size=7, epochs=2, verbose=0)
    assert_same(model, fresh)
