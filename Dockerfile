# One image for every process: `ingress`, `worker` and the operator's commands.
FROM python:3.11-slim AS build
RUN python -m venv /opt/redemptions
ENV PATH=/opt/redemptions/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
# The dependencies first: their layer stays as long as the lock does.
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock
COPY . ./
RUN pip install --no-deps --no-build-isolation .

FROM python:3.11-slim
# A number, so that an orchestrator can see that it is not root.
RUN install -d -o 10001 -g 10001 -m 0700 /var/lib/redemptions
COPY --from=build /opt/redemptions /opt/redemptions
# The outside of a container is its network: other processes and probes come by 0.0.0.0.
ENV PATH=/opt/redemptions/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    REDEMPTIONS_DATA_DIR=/var/lib/redemptions \
    REDEMPTIONS_INGRESS_HOST=0.0.0.0 \
    REDEMPTIONS_ADMIN_HOST=0.0.0.0 \
    REDEMPTIONS_ADMIN_PORT=8081 \
    REDEMPTIONS_LOG_FORMAT=json
USER 10001:10001
WORKDIR /var/lib/redemptions
VOLUME /var/lib/redemptions
EXPOSE 8080 8081
# The start waits for Kafka and the database up to START_TIMEOUT (60 s).
HEALTHCHECK --interval=10s --timeout=5s --start-period=75s --retries=3 CMD ["python", "-c", \
    "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8081, timeout=3); c.request('GET', '/health/live'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["redemptions"]
CMD ["--help"]
