"""One peer's private inference of a 784-784-10 network, in the interpreter in which that peer is installed.

Started by `benchmarks.peers_private_inference`, which need not share that interpreter: only numpy, the standard
library and the peer are used here. Usage: ``python private_peers.py PEER INPUT.npz IMAGES``; one JSON object goes to
the last line of the standard output.

INPUT.npz holds unit vectors (images, 784), labels, and float32 matrices first (784, 784), second (10, 784) of a
network with a ReLU between them and no biases.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

import numpy as np  # noqa: E402 - threads are limited before it starts them

Answer = dict[str, Any]


def spu(vectors: Any, first: Any, second: Any, calibration: Any) -> Answer:
    """SecretFlow-SPU: SEMI2K, two parties and a trusted dealer, 64-bit ring, both parties in this process."""
    jnp = import_module("jax.numpy")
    package = import_module("spu")
    simulation = import_module("spu.utils.simulation")

    config = package.RuntimeConfig(protocol=package.ProtocolKind.SEMI2K, field=package.FieldType.FM64)
    config.enable_pphlo_profile = True  # tells what was sent
    parties = simulation.Simulator(2, config)

    def forward(x: Any, a: Any, b: Any) -> Any:
        return jnp.maximum(x @ a, 0) @ b

    private = simulation.sim_jax(parties, forward)
    private(vectors[:1], first.T, second.T)  # compiles
    started, spent = time.perf_counter(), time.process_time()
    outputs = [np.asarray(private(vectors[i : i + 1], first.T, second.T)) for i in range(len(vectors))]
    seconds, spent = time.perf_counter() - started, time.process_time() - spent
    return {
        "version": package.__version__,
        "what": "SEMI2K, two parties in one process, trusted dealer, 64-bit ring, one image a call",
        "seconds": seconds / len(vectors),
        "cpu_seconds": spent / len(vectors),
        "outputs": np.concatenate(outputs),
    }


def crypten(vectors: Any, first: Any, second: Any, calibration: Any) -> Answer:
    """CrypTen: two processes over loopback, a trusted first party as dealer."""
    package, torch = import_module("crypten"), import_module("torch")
    communicator, mpc = import_module("crypten.communicator"), import_module("crypten.mpc")

    @mpc.run_multiprocess(world_size=2)  # type: ignore[untyped-decorator,unused-ignore]
    def parties() -> Any:
        torch.set_num_threads(1)
        package.cfg.communicator.verbose = True  # counts bytes
        a = package.cryptensor(torch.from_numpy(np.ascontiguousarray(first.T)), src=0)
        b = package.cryptensor(torch.from_numpy(np.ascontiguousarray(second.T)), src=0)

        def private(index: int) -> Any:
            x = package.cryptensor(torch.from_numpy(vectors[index : index + 1]), src=1)
            return x.matmul(a).relu().matmul(b).get_plain_text().numpy()

        private(0)
        link = communicator.get()
        link.reset_communication_stats()
        started, spent = time.perf_counter(), time.process_time()
        outputs = [private(index) for index in range(len(vectors))]
        seconds, spent = time.perf_counter() - started, time.process_time() - spent
        return np.concatenate(outputs), seconds, link.comm_bytes, spent

    found = parties()
    outputs, seconds = found[0][:2]
    return {
        "version": package.__version__,
        "what": "two processes over loopback, trusted first party, one image a call",
        "seconds": seconds / len(vectors),
        "cpu_seconds": sum(answer[3] for answer in found) / len(vectors),
        "bytes": sum(answer[2] for answer in found) / len(vectors),
        "outputs": outputs,
    }


def tenseal(vectors: Any, first: Any, second: Any, calibration: Any) -> Answer:
    """TenSEAL: CKKS; the client decrypts the hidden vector, applies the ReLU and encrypts again, as with light."""
    package = import_module("tenseal")

    context = package.context(package.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[40, 20, 40])
    context.global_scale = 2**20
    context.generate_galois_keys()
    matrices = first.T.tolist(), second.T.tolist()
    sent = 0
    outputs = []
    seconds = spent = 0.0
    for index in range(-1, len(vectors)):  # the first is a warm-up
        started, before = time.perf_counter(), time.process_time()
        values = vectors[max(index, 0)].tolist()
        for layer, matrix in enumerate(matrices):
            request = package.ckks_vector(context, values)
            answer = request.mm(matrix)
            if layer == 0:
                values = [max(value, 0.0) for value in answer.decrypt()]
            else:
                result = answer.decrypt()
            if index == 0:
                sent += len(request.serialize()) + len(answer.serialize())
        if index >= 0:
            seconds += time.perf_counter() - started
            spent += time.process_time() - before
            outputs.append(result)
    return {
        "version": package.__version__,
        "what": "CKKS of degree 4096, weights in the clear at the server, client does the ReLU between two rounds",
        "seconds": seconds / len(vectors),
        "cpu_seconds": spent / len(vectors),
        "bytes": sent,
        "outputs": np.asarray(outputs),
    }


def concrete(vectors: Any, first: Any, second: Any, calibration: Any) -> Answer:
    """Concrete ML: TFHE after quantisation to 4 bits; one image is executed, all are simulated."""
    package = import_module("concrete.ml")
    torch: Any = import_module("torch")
    compile_torch_model = import_module("concrete.ml.torch.compile").compile_torch_model

    class Model(torch.nn.Module):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Linear(784, 784, bias=False), torch.nn.Linear(784, 10, bias=False)
            self.first.weight.data, self.second.weight.data = torch.from_numpy(first), torch.from_numpy(second)

        def forward(self, x: Any) -> Any:
            return self.second(torch.relu(self.first(x)))

    module = compile_torch_model(Model(), calibration, n_bits=4, rounding_threshold_bits=6, p_error=0.01)
    module.fhe_circuit.keygen()
    started, spent = time.perf_counter(), time.process_time()
    outputs = module.forward(vectors[:1], fhe="execute")
    seconds, spent = time.perf_counter() - started, time.process_time() - spent
    simulated = module.forward(vectors, fhe="simulate")
    return {
        "version": package.__version__,
        "what": "TFHE, 4 bits, weights in the clear at the server; one image executed, the others simulated",
        "seconds": seconds,
        "cpu_seconds": spent,
        "outputs": np.concatenate([outputs, simulated[1:]]),
    }


PEERS: dict[str, Callable[[Any, Any, Any, Any], Answer]] = {
    "spu": spu,
    "crypten": crypten,
    "tenseal": tenseal,
    "concrete": concrete,
}


def main() -> None:
    name, source, images = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with np.load(source) as held:
        vectors, labels, calibration = held["vectors"][:images], held["labels"][:images], held["vectors"][images:]
        first, second = held["first"], held["second"]
    try:
        answer = PEERS[name](vectors, first, second, calibration)
    except ImportError as error:
        answer = {"missing": str(error)}
    outputs = answer.pop("outputs", None)
    if outputs is not None:
        exact = np.maximum(vectors @ first.T, 0) @ second.T
        answer["images"] = len(vectors)
        answer["right"] = int(np.sum(np.argmax(outputs, axis=1) == labels))
        answer["agree"] = int(np.sum(np.argmax(outputs, axis=1) == np.argmax(exact, axis=1)))
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


def spu_bytes(log: str) -> float | None:
    """Mean bytes that one party sent in a call, from SPU's own profile; None where the log does not tell."""
    found = [int(count) for count in re.findall(r"total send bytes (\d+)", log)]
    return sum(found) / len(found) if found else None


if __name__ == "__main__":
    main()
