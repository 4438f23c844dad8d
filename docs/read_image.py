"""Reads an ELBERT memory image (docs/export.md), Python alone: read_image.py image.bin image.json."""

import json
import struct
import sys
from array import array


def read(image: bytes, about: dict) -> dict:
    """Name to integers: NAME.weight [out][in], NAME [iteration][channel] of (offset, multiplier, shift)."""
    columns, geometry, found = about["array"]["columns"], about["geometry"], {}
    at = {name: region["address"] for name, region in about["regions"].items()}

    def parameters(size: int, form: str) -> list:
        """The next ``size`` bytes of the parameters; (beta, gamma, shift) and table entries likewise."""
        at["parameters"] += size
        values = list(struct.iter_unpack(form, image[at["parameters"] - size : at["parameters"]]))
        return values if len(values[0]) > 1 else [value for (value,) in values]

    def stream(entries: list, address: int) -> None:
        for entry in entries:
            if first := entry["prefetch"]:
                form = {"norm": "<ihBx", "table": "<b", "attention": "<iHBx"}[first["kind"]]
                values = parameters(first["bytes"], form)
                if first["kind"] == "attention":
                    values = values[:2]  # score and context; the rest is padding
                found.setdefault(first["name"], []).append(values)
            channels, rows = [], []
            for _ in range(entry["tiles"]):
                channels += parameters(8 * columns, "<iHBx")
                tile = image[address : address + columns * entry["chunks"] * entry["depth"]]
                rows += [list(array("b", tile[feature::columns])) for feature in range(columns)]
                address += len(tile)
            if rows:  # features beyond the matrix are padding
                found[entry["name"] + ".weight"] = rows[: entry["out"]]
                found.setdefault(entry["name"], []).append(channels[: entry["out"]])

    stream(about["streams"]["embedding"], at["embedding_layer"])
    for _ in range(geometry["num_hidden_layers"]):  # all read the same weights, each its own parameters
        stream(about["streams"]["iteration"], at["layer"])
    kinds = geometry["type_vocab_size"] * geometry["max_position_embeddings"]
    for name, form, rows in (("embedding", "b", geometry["vocab_size"]), ("position", "h", kinds)):
        row = struct.Struct(f"<{geometry['embedding_size']}{form}")
        found[name] = [list(row.unpack_from(image, at[name] + row.size * i)) for i in range(rows)]
    return found


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as image_file, open(sys.argv[2]) as map_file:
        for name, values in read(image_file.read(), json.load(map_file)).items():
            print(name, len(values), "x", len(values[0]), values[0][:3])
