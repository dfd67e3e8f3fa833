"""The routes of a data port: Open Inference Protocol v2 and MLflow's scoring protocol.

Bytes in, bytes out: a request becomes rows for the batcher, its predictions become the answer in
the protocol that asked. 400 says that a request is not understood, 422 that a value does not fit
the model, 500 that the model failed on it, 503 that features could not be looked up.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, unquote_to_bytes

import msgspec
import orjson

from linnet_server import contract, logs
from linnet_server.batching import Batcher, Job, Outcome, Predictions
from linnet_server.columns import Inputs, Mapped, NotUnderstood, Table, Tables, Unfit
from linnet_server.counters import CONTENT_TYPE, Counters
from linnet_server.features import Features, Unavailable
from linnet_server.protocol import Request, is_safe_id

if TYPE_CHECKING:
    # At run time the model's libraries are imported in the worker thread.
    from linnet_server.model import Model
    from linnet_server.shadow import Shadow

PLATFORM: Final = "sklearn"
SERVER_NAME: Final = "linnet-server"

_FLOATS: Final = frozenset({"FP16", "FP32", "FP64"})
_INTEGERS: Final = frozenset(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))
_DATATYPES: Final = {
    "double": _FLOATS | _INTEGERS,
    "string": frozenset({"BYTES"}),
    "boolean": frozenset({"BOOL"}),
}
_DATATYPE_OF: Final = {"double": "FP64", "string": "BYTES", "boolean": "BOOL"}
_ALL_DATATYPES: Final = frozenset().union(*_DATATYPES.values())


class InferTensor(msgspec.Struct):
    """An input of a V2 request."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] | None = None


class InferOutput(msgspec.Struct):
    """An output that a V2 request asks for."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(msgspec.Struct):
    """The body of a V2 request."""

    inputs: list[InferTensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[InferOutput] | None = None


class ScoringRequest(msgspec.Struct):
    """The body of an MLflow request: one of four forms, and parameters."""

    dataframe_split: Any = None
    dataframe_records: Any = None
    inputs: Any = None
    instances: Any = None
    params: dict[str, Any] | None = None


_decode_infer = msgspec.json.Decoder(InferRequest).decode
_decode_scoring = msgspec.json.Decoder(ScoringRequest).decode

Handler = Callable[[Request], None]
T = TypeVar("T")


class App:
    """Answers for one model under one name and version."""

    def __init__(
        self,
        model: "Model",
        *,
        name: str,
        version: str,
        counters: Counters,
        batcher: Batcher,
        server_version: str,
        shadow: "Shadow | None" = None,
        features: Features | None = None,
    ) -> None:
        self.ready = True
        """Whether health routes say ready; false while draining."""
        self._model = model
        self._inputs = Inputs(model.columns)
        self._name = name
        self._version = version
        self._counters = counters
        self._batcher = batcher
        self._server_version = server_version
        self._shadow = shadow
        self._features = features
        self._reader: Inputs | Tables = self._inputs if features is None else Tables()
        self._wanted_columns = {column.name: column.nullable for column in model.columns}
        self._looking_up: set[asyncio.Task[None]] = set()
        self._outputs = ["prediction"]
        if model.task == "Classification":
            self._outputs = ["label", "probability"] if model.has_probabilities else ["label"]
        self._posts: dict[bytes, Handler] = {b"/invocations": self._invoke}
        self._gets: dict[bytes, Handler] = {
            b"/v2": self._server_metadata,
            b"/v2/": self._server_metadata,
            b"/v2/health/live": self._live,
            b"/v2/health/ready": self._readiness,
            b"/ping": self._ping,
            b"/health": self._ping,
            b"/version": self._server_version_text,
        }
        model_path = b"/v2/models/" + quote(name, safe="").encode()
        for path in (model_path, model_path + b"/versions/" + quote(version, safe="").encode()):
            self._gets[path] = self._model_metadata
            self._gets[path + b"/ready"] = self._model_readiness
            self._posts[path + b"/infer"] = self._infer

    # Routes.

    def opened(self, request: Request) -> None:
        """Count what is posted to a prediction route, whatever becomes of it."""
        request.counted = request.method == b"POST" and _is_prediction(request.target)

    def complete(self, request: Request) -> None:
        """Answer by method and path."""
        path = request.target
        if request.method == b"POST":
            handler = self._posts.get(path)
        elif request.method in (b"GET", b"HEAD"):
            handler = self._gets.get(path)
        else:
            handler = None
        if handler is None:
            handler = self._find(request)
        if handler is not None:
            handler(request)
        if request.answered:
            self._copy(request, None)

    def _copy(self, request: Request, labels: Sequence[Any] | None) -> None:
        """Offer an answered request for a copy, with what there is to compare."""
        weighted = request.kind == contract.KIND_WEIGHTED and request.counted
        if self._shadow is not None and weighted:
            self._shadow.offer(request, labels)

    def _find(self, request: Request) -> Handler | None:
        """Look again with the path in its plain form; answer 404 or 405 if that finds nothing."""
        plain = unquote_to_bytes(request.target.split(b"?", 1)[0]).decode("utf-8", "replace")
        path = quote(plain, safe="/").encode()
        in_posts, in_gets = self._posts.get(path), self._gets.get(path)
        if request.method == b"POST" and in_posts is not None:
            return in_posts
        if request.method in (b"GET", b"HEAD") and in_gets is not None:
            return in_gets
        if in_posts is not None or in_gets is not None:
            wanted = "POST" if in_posts is not None else "GET"
            request.fail(405, f"'{plain}' takes {wanted}")
        elif plain.startswith("/v2/models/"):
            request.fail(
                404,
                f"'{plain}' is not served here; "
                f"this server has version {self._version} of '{self._name}'",
            )
        else:
            request.fail(404, f"there is no '{plain}'")
        return None

    def _server_metadata(self, request: Request) -> None:
        _answer(
            request,
            {"name": SERVER_NAME, "version": self._server_version, "extensions": []},
        )

    def _live(self, request: Request) -> None:
        _answer(request, {"live": True})

    def _readiness(self, request: Request) -> None:
        _answer(request, {"ready": self.ready}, status=200 if self.ready else 503)

    def _ping(self, request: Request) -> None:
        if self.ready:
            request.answer(200, b"\n")
        else:
            request.fail(503, "draining")

    def _server_version_text(self, request: Request) -> None:
        request.answer(200, self._server_version.encode(), b"text/plain; charset=utf-8")

    def _model_readiness(self, request: Request) -> None:
        _answer(
            request,
            {"name": self._name, "ready": self.ready},
            status=200 if self.ready else 503,
        )

    def _model_metadata(self, request: Request) -> None:
        outputs: list[dict[str, Any]] = []
        for name in self._outputs:
            if name == "probability":
                shape = [-1, len(self._model.classes)]
                outputs.append({"name": name, "datatype": "FP64", "shape": shape})
            else:
                datatype = (
                    "FP64" if name == "prediction" else _datatype_of(list(self._model.classes))
                )
                outputs.append({"name": name, "datatype": datatype, "shape": [-1]})
        _answer(
            request,
            {
                "name": self._name,
                "versions": [self._version],
                "platform": PLATFORM,
                "inputs": [
                    {
                        "name": column.name,
                        "datatype": _DATATYPE_OF[column.type],
                        "shape": [-1, 1],
                        "parameters": {"nullable": column.nullable},
                    }
                    for column in self._inputs.columns
                ],
                "outputs": outputs,
            },
        )

    # Open Inference Protocol.

    def _infer(self, request: Request) -> None:
        try:
            _refuse_other_content(request)
            if b"inference-header-content-length" in request.headers:
                raise NotUnderstood("binary tensors are not supported: send JSON")
            body = _decode(_decode_infer, request.body)
            if body.id:
                if not is_safe_id(body.id):
                    raise NotUnderstood(
                        "`id` must be 1 to 256 printable ASCII characters without spaces"
                    )
                request.id = body.id
            wanted = self._wanted(body.outputs)
            read = self._from_tensors(body.inputs)
        except NotUnderstood as error:
            request.fail(400, str(error))
            return
        except Unfit as error:
            request.fail(422, str(error))
            return
        self._run(request, read, lambda answers: self._infer_answer(request, answers, wanted))

    def _wanted(self, outputs: list[InferOutput] | None) -> Sequence[str]:
        if not outputs:
            return self._outputs
        for output in outputs:
            if output.name not in self._outputs:
                raise NotUnderstood(
                    f"there is no output '{output.name}'; the model has {', '.join(self._outputs)}"
                )
        return [output.name for output in outputs]

    def _from_tensors(self, tensors: list[InferTensor]) -> Mapped | Table:
        if not tensors:
            raise NotUnderstood("`inputs` must not be empty")
        if len(tensors) == 1 and self._is_matrix(tensors[0]):
            return self._reader.from_tensor(_matrix(tensors[0]))
        types = {column.name: column.type for column in self._inputs.columns}
        table: dict[str, list[Any]] = {}
        for tensor in tensors:
            if tensor.name in table:
                raise NotUnderstood(f"column '{tensor.name}' is given twice")
            if tensor.datatype not in _ALL_DATATYPES:
                raise NotUnderstood(
                    f"input '{tensor.name}' has no known datatype: '{tensor.datatype}'"
                )
            kind = types.get(tensor.name)
            if kind is not None and tensor.datatype not in _DATATYPES[kind]:
                raise Unfit(
                    f"column '{tensor.name}' must have datatype {_DATATYPE_OF[kind]}, "
                    f"not {tensor.datatype}"
                )
            table[tensor.name] = _vector(tensor)
        return self._reader.from_columns(table)

    def _is_matrix(self, tensor: InferTensor) -> bool:
        return len(tensor.shape) == 2 and (
            tensor.shape[1] != 1 or all(c.name != tensor.name for c in self._inputs.columns)
        )

    def _infer_answer(self, request: Request, answers: Predictions, wanted: Sequence[str]) -> bytes:
        outputs: list[dict[str, Any]] = []
        count = len(answers.labels)
        for name in wanted:
            if name == "probability":
                probabilities = answers.probabilities or []
                width = len(self._model.classes)
                outputs.append(
                    {
                        "name": name,
                        "datatype": "FP64",
                        "shape": [count, width],
                        "parameters": {"classes": self._model.classes},
                        "data": [value for row in probabilities for value in row],
                    }
                )
            else:
                datatype = "FP64" if name == "prediction" else _datatype_of(answers.labels)
                outputs.append(
                    {"name": name, "datatype": datatype, "shape": [count], "data": answers.labels}
                )
        return orjson.dumps(
            {
                "model_name": self._name,
                "model_version": self._version,
                "id": request.id,
                "outputs": outputs,
            }
        )

    # MLflow's scoring protocol.

    def _invoke(self, request: Request) -> None:
        try:
            _refuse_other_content(request)
            body = _decode(_decode_scoring, request.body)
            probability = self._asks_for_probability(body.params)
            read = self._from_scoring(body)
        except NotUnderstood as error:
            request.fail(400, str(error))
            return
        except Unfit as error:
            request.fail(422, str(error))
            return
        self._run(
            request,
            read,
            lambda answers: orjson.dumps(
                {"predictions": answers.probabilities if probability else answers.labels}
            ),
        )

    def _asks_for_probability(self, params: dict[str, Any] | None) -> bool:
        output = (params or {}).get("output", "label")
        if output == "probability" and "probability" in self._outputs:
            return True
        if output in ("label", "prediction"):
            return False
        raise NotUnderstood(
            f"`params.output` must be one of {', '.join(self._outputs)}, "
            f"not {orjson.dumps(output).decode()}"
        )

    def _from_scoring(self, body: ScoringRequest) -> Mapped | Table:
        forms = {
            "dataframe_split": body.dataframe_split,
            "dataframe_records": body.dataframe_records,
            "inputs": body.inputs,
            "instances": body.instances,
        }
        given = {name: form for name, form in forms.items() if form is not None}
        if len(given) != 1:
            raise NotUnderstood(
                "the body must have exactly one of `dataframe_split`, `dataframe_records`, "
                "`inputs`, `instances`"
            )
        ((name, form),) = given.items()
        if name == "dataframe_split":
            if (
                not isinstance(form, dict)
                or not isinstance(form.get("columns"), list)
                or not isinstance(form.get("data"), list)
            ):
                raise NotUnderstood("`dataframe_split` must have the lists `columns` and `data`")
            return self._reader.from_rows(form["columns"], form["data"])
        if isinstance(form, dict) and name in ("inputs", "instances"):
            if not all(isinstance(cells, list) for cells in form.values()):
                raise NotUnderstood(f"`{name}` must have a list of values for each column")
            return self._reader.from_columns(
                {column: [_unwrapped(cell) for cell in cells] for column, cells in form.items()}
            )
        if not isinstance(form, list):
            raise NotUnderstood(f"`{name}` must be a list of rows")
        if form and isinstance(form[0], list) and name != "dataframe_records":
            return self._reader.from_tensor(form)
        return self._reader.from_records(form)

    # Features.

    def _run(
        self, request: Request, read: Mapped | Table, render: Callable[[Predictions], bytes]
    ) -> None:
        """Predict, after the look-up of what a table leaves out."""
        if isinstance(read, Mapped):
            self._predict(request, read, render)
            return
        task = asyncio.get_running_loop().create_task(self._look_up(request, read, render))
        self._looking_up.add(task)
        task.add_done_callback(self._looking_up.discard)

        def gone() -> None:
            task.cancel()

        request.gone = gone

    async def _look_up(
        self, request: Request, table: Table, render: Callable[[Predictions], bytes]
    ) -> None:
        assert self._features is not None, "tables are read where there are features"
        try:
            completed = await self._features.complete(table, self._wanted_columns)
            mapped = self._inputs.from_columns(completed.columns)
        except NotUnderstood as error:
            request.fail(400, str(error))
        except Unfit as error:
            request.fail(422, str(error))
        except Unavailable as error:
            logs.failure("features cannot be looked up", reason=str(error), request=request.id)
            request.fail(503, str(error))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"[:500]
            logs.failure("a look-up of features failed", reason=reason, request=request.id)
            request.fail(500, f"the features cannot be looked up: {reason}")
        else:
            self._predict(request, mapped, render)
            return
        self._copy(request, None)

    # The model.

    def _predict(
        self, request: Request, mapped: Mapped, render: Callable[[Predictions], bytes]
    ) -> None:
        if not request.id:
            request.id = request.proposed_id()
        for name in mapped.unknown:
            if self._counters.saw_unknown(name):
                logs.warning(
                    "a request has a column that the model does not know; it is ignored",
                    column=name[:128],
                )
        kind = request.kind

        def done(outcome: Outcome) -> None:
            payload = b""
            if not isinstance(outcome, Exception):
                try:
                    payload = render(outcome)
                    self._counters.predicted(kind, self._scores(outcome))
                except Exception as error:
                    # The other requests of this batch must not pay for it.
                    outcome = error
            if isinstance(outcome, Exception):
                reason = f"{type(outcome).__name__}: {outcome}"[:500]
                logs.failure("the model failed on a request", reason=reason, request=request.id)
                request.fail(500, f"the model failed: {reason}")
                self._copy(request, None)
                return
            self._counters.rows += len(outcome.labels)
            request.answer(200, payload)
            classifies = self._model.task == "Classification"
            self._copy(request, outcome.labels if classifies else None)

        job = Job(mapped.rows, done)

        def gone() -> None:
            job.cancelled = True

        request.gone = gone
        self._batcher.submit(job)

    def _scores(self, answers: Predictions) -> list[float]:
        """Return what the prediction histogram counts: the positive class, or the likeliest one."""
        if answers.probabilities is None:
            return []
        positive = self._model.positive
        if positive is None:
            return [max(row) for row in answers.probabilities]
        return [row[positive] for row in answers.probabilities]


def _is_prediction(target: bytes) -> bool:
    path = target.split(b"?", 1)[0]
    return path == b"/invocations" or (path.startswith(b"/v2/") and path.endswith(b"/infer"))


def _answer(request: Request, document: dict[str, Any], status: int = 200) -> None:
    request.answer(status, orjson.dumps(document))


def _refuse_other_content(request: Request) -> None:
    encoding = request.headers.get(b"content-encoding", b"identity").lower()
    if encoding not in (b"identity", b""):
        raise NotUnderstood(f"content-encoding '{encoding.decode('latin-1')}' is not supported")
    kind = request.headers.get(b"content-type", b"").lower()
    if kind.startswith((b"text/csv", b"multipart/")):
        raise NotUnderstood(
            f"content-type '{kind.decode('latin-1')}' is not supported: send application/json"
        )


def _decode(decode: Callable[[bytes], T], body: bytes) -> T:
    if not body:
        raise NotUnderstood("the request has no body")
    try:
        return decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NotUnderstood(f"the body is not understood: {error}") from error


def _vector(tensor: InferTensor) -> list[Any]:
    """Return the values of an input with one value a row."""
    shape = tensor.shape
    if not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
        raise NotUnderstood(
            f"input '{tensor.name}' has shape {shape}; a column has [rows] or [rows, 1]"
        )
    data = [_unwrapped(cell) for cell in tensor.data]
    if len(data) != shape[0]:
        raise NotUnderstood(f"input '{tensor.name}' has shape {shape}, but {len(data)} values")
    return data


def _matrix(tensor: InferTensor) -> list[Any]:
    """Return the rows of one input `[rows, columns]`, flat or nested."""
    rows, width = tensor.shape
    if tensor.datatype not in _FLOATS | _INTEGERS:
        raise Unfit(
            f"input '{tensor.name}' must have datatype FP64, not {tensor.datatype}: "
            "other columns are sent by name"
        )
    data = tensor.data
    if data and isinstance(data[0], list):
        data = [cell for row in data for cell in (row if isinstance(row, list) else [row])]
    if rows < 0 or width < 1 or len(data) != rows * width:
        raise NotUnderstood(
            f"input '{tensor.name}' has shape {tensor.shape}, but {len(data)} values"
        )
    return [data[start : start + width] for start in range(0, len(data), width)]


def _unwrapped(cell: Any) -> Any:
    return cell[0] if type(cell) is list and len(cell) == 1 else cell


def _datatype_of(labels: Sequence[Any]) -> str:
    first = labels[0] if labels else ""
    if isinstance(first, bool):
        return "BOOL"
    if isinstance(first, int):
        return "INT64"
    return "FP64" if isinstance(first, float) and not math.isnan(first) else "BYTES"


class Management:
    """The port for probes and scrapes."""

    def __init__(self, counters: Counters) -> None:
        self.ready = False
        self.reason = "the model is being loaded"
        self._counters = counters

    def opened(self, request: Request) -> None:
        """Nothing here is counted."""

    def complete(self, request: Request) -> None:
        """Answer probes and scrapes."""
        path = request.target.split(b"?", 1)[0]
        text = b"text/plain; charset=utf-8"
        if request.method not in (b"GET", b"HEAD"):
            request.fail(405, "this port takes GET")
        elif path == b"/healthz":
            request.answer(200, b"ok\n", text)
        elif path == b"/readyz":
            if self.ready:
                request.answer(200, b"ok\n", text)
            else:
                request.answer(503, f"{self.reason}\n".encode(), text)
        elif path == b"/metrics":
            request.answer(200, self._counters.render(), CONTENT_TYPE.encode())
        else:
            request.fail(404, "this port has /metrics, /healthz and /readyz")
