"""The leaderboard described for machines: schema.org's Dataset in MLCommons' Croissant 1.0, as JSON-LD. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from suite.rows import COSTS, QUALITY, Metric

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
LICENSE = "https://creativecommons.org/licenses/by/4.0/"
#: Of what the columns mean; the rows change with every record.
VERSION = "1.0.0"
NAME = "Prunemark leaderboard"
CITE_AS = "Prunemark: the open benchmark of neural-network compression. The Prunemark authors. Results under CC BY 4.0."
ABOUT = (
    "Compressed neural networks, each beside the uncompressed network it was made from: accuracy on the test split, "
    "parameters, multiply-accumulates, size, measured speed-up with its 95 % interval, peak memory and energy. One "
    "line is a method with one setting on one task and data set, averaged over seeds, timed in one setup: what was "
    "timed in several has several lines. Empty means not measured."
)
TEXT, INTEGER, FLOAT, BOOLEAN = "sc:Text", "sc:Integer", "sc:Float", "sc:Boolean"

#: The terms of the specification's own context (https://docs.mlcommons.org/croissant/docs/croissant-spec.html).
_OWN = ("citeAs", "column", "dataBiases", "dataCollection", "equivalentProperty", "extract", "field", "fileObject",
        "fileProperty", "fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField",
        "path", "personalSensitiveInformation", "recordSet", "references", "regex", "repeated", "replace",
        "samplingRate", "separator", "source", "subField", "transform")  # fmt: skip
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
} | {name: f"cr:{name}" for name in _OWN}

_UNITS = {"percent": "as a fraction", "number": "", "decibel": "in decibels", "count": "", "bytes": "in bytes"}


def _words(metric: Metric, of: str) -> str:
    better = "higher" if metric.higher_is_better else "lower"
    return " ".join(filter(None, (f"{metric.label} of {of}", _UNITS[metric.kind]))) + f"; {better} is better"


def _measured() -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for name, metric in {**QUALITY, **COSTS}.items():
        found[name] = (FLOAT, f"{_words(metric, 'the compressed network')}; mean over seeds")
        found[f"{name}_deviation"] = (FLOAT, f"Sample standard deviation of {name} over seeds; empty for one seed")
        found[f"dense_{name}"] = (FLOAT, f"{_words(metric, 'the uncompressed network')}; mean over seeds")
        found[f"dense_{name}_deviation"] = (FLOAT, f"Sample standard deviation of dense_{name} over seeds")
    return found


#: (type, description) of the columns of leaderboard.csv that no metric names.
FIELDS: dict[str, tuple[str, str]] = {
    "task": (TEXT, "The task: an architecture, a data set, a training recipe and metrics"),
    "method": (TEXT, "The compression method; dense is the network left alone"),
    "family": (TEXT, "The family of the method; controls are what the others must beat"),
    "hyperparameters": (TEXT, "Every hyperparameter of the method, as a JSON object"),
    "profile": (TEXT, "full is the recipe that counts; quick and smoke are shortened trainings"),
    "data_sha256": (TEXT, "SHA-256 of the data set; rows of different data are not comparable"),
    "state": (TEXT, "ok, stale, failed, unsupported or missing; only ok rows count"),
    "reason": (TEXT, "Why a row does not count"),
    "seeds": (INTEGER, "Seeds that the means are over"),
    "training_macs": (FLOAT, "Multiply-accumulates spent on training, the dense network's included; mean over seeds"),
    "change": (FLOAT, "The task's headline metric less the uncompressed network's, paired by seed; mean"),
    "speedup": (FLOAT, "Median time of the uncompressed network / that of the compressed one, measured in pairs"),
    "speedup_low": (FLOAT, "Lower end of the speed-up's 95 % interval"),
    "speedup_high": (FLOAT, "Upper end of the speed-up's 95 % interval"),
    "dense_seconds": (FLOAT, "Median time of one pass of the uncompressed network, in seconds"),
    "compressed_seconds": (FLOAT, "Median time of one pass of the compressed network, in seconds"),
    "over_eager": (BOOLEAN, "The compressed network ran compiled, the uncompressed one eager"),
    "speedup_over_compiled": (FLOAT, "Where over_eager: the speed-up over the uncompressed network, compiled too"),
    "peak_bytes": (FLOAT, "Peak memory of a fresh process with the compressed network, in bytes"),
    "dense_peak_bytes": (FLOAT, "Peak memory of a fresh process with the uncompressed network, in bytes"),
    "speed_rank": (INTEGER, "1 + the rows whose whole interval, widened by the noise floor, lies above this row's"),
    "contended": (BOOLEAN, "Other processes were busy while it was timed: not ranked"),
    "speed_rank_worst": (INTEGER, "The place that the row cannot be below: between the two, intervals do not tell"),
    "noise_floor": (FLOAT, "By how much one network seems to differ from itself in this setup, as a fraction"),
    "joules": (FLOAT, "Energy of one image with the compressed network, idle subtracted, in joules"),
    "dense_joules": (FLOAT, "Energy of one image with the uncompressed network, idle subtracted, in joules"),
    "setup": (TEXT, "Where and under which conditions speed was measured, in words: rows of one setup are compared"),
    "machine": (TEXT, "The machine, as in results/machines; never a host name"),
    "device": (TEXT, "cpu or cuda"),
    "batch_size": (INTEGER, "Images in one pass"),
    "threads": (INTEGER, "Threads of the CPU"),
    "backend": (TEXT, "eager, compile or onnxruntime: what ran the compressed network"),
    "precision": (TEXT, "Number format of the compressed network's arithmetic: fp32, bf16, fp16 or int8"),
    "cache": (TEXT, "hot: the same network just ran; cold: something else did"),
    "timing": (TEXT, "On CUDA the clock: wall (the host's, of a stream of passes), device, profiler; empty on the CPU"),
    "refresh": (TEXT, "The commands that would complete or refresh the row"),
    "cells": (TEXT, "The cells of the row, one a seed, as SHA-256 of what was asked for"),
}


def fields() -> dict[str, tuple[str, str]]:
    """(type, description) of every column of leaderboard.csv; the metrics of task files are known when it is asked."""
    return _measured() | FIELDS


def description(csv: str, columns: Sequence[str], *, created: str) -> dict[str, Any]:
    """The JSON-LD of leaderboard.csv, whose text and columns are given; `created` is the newest record's time."""
    content = csv.encode()
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": NAME,
        "description": ABOUT,
        "license": LICENSE,
        "url": "index.html",
        "version": VERSION,
        "citeAs": CITE_AS,
        "creator": {"@type": "sc:Organization", "name": "The Prunemark authors"},
        "keywords": ["neural-network compression", "pruning", "quantization", "benchmark", "latency"],
        **({"datePublished": created[:10]} if created else {}),
        "isLiveDataset": True,
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "leaderboard.csv",
                "name": "leaderboard.csv",
                "description": "A line for each row and setup, in base units.",
                "contentUrl": "leaderboard.csv",
                "contentSize": f"{len(content)} B",
                "encodingFormat": "text/csv",
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "rows",
                "name": "rows",
                "description": "The rows of the leaderboard.",
                "field": [_field(name) for name in columns],
            }
        ],
    }


def _field(name: str) -> dict[str, Any]:
    kind, text = fields()[name]
    source = {"fileObject": {"@id": "leaderboard.csv"}, "extract": {"column": name}}
    return {"@type": "cr:Field", "@id": f"rows/{name}", "name": name, "description": text, "dataType": kind,
            "source": source}  # fmt: skip
