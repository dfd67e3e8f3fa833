# The MLflow server of the test cluster. Its versions are pinned in mlflow.txt.
ARG BASE
FROM ${BASE}
ENV PATH=/opt/mlflow/bin:$PATH HOME=/tmp PIP_DISABLE_PIP_VERSION_CHECK=1
COPY mlflow.txt /opt/mlflow/requirements.txt
RUN --mount=type=cache,target=/root/.cache/pip \
    HOME=/root \
    && python3 -m venv /opt/mlflow \
    && pip install --quiet --no-deps --no-compile --requirement /opt/mlflow/requirements.txt \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/mlflow/lib
WORKDIR /tmp
USER 10001:10001
