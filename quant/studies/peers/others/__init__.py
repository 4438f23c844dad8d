"""The peers, a file per package, in :data:`LINE_UP`. A package is imported when its peer is made."""

from __future__ import annotations

from quant.studies.peers.defaults import PEERS
from quant.studies.peers.others import brevitas, golden, onnxruntime, pytorch, torchao
from quant.studies.peers.peer import Peer

LINE_UP: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        pytorch.FLOAT,
        pytorch.DYNAMIC,
        torchao.WEIGHTS,
        torchao.DYNAMIC,
        brevitas.STATIC,
        onnxruntime.STATIC,
        golden.FULL,
        golden.EXITS,
    )
}
"""By name, in the order of the table."""

assert tuple(LINE_UP) == PEERS
