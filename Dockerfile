# A worker that completes in the cloud, and the command line. MLX is not in it: no container reaches a Mac's GPU.
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY producer producer
COPY worker worker
RUN python -m venv /opt/windfall \
    && /opt/windfall/bin/pip install --no-cache-dir '.[cloud]' \
    && /opt/windfall/bin/pip uninstall --yes pip

FROM python:3.12-slim
COPY --from=build /opt/windfall /opt/windfall
RUN useradd --create-home --uid 10001 windfall
ENV PATH=/opt/windfall/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
WORKDIR /home/windfall
# It drains; give it longer than --drain-timeout before it is killed. There is no HEALTHCHECK: a worker that cannot work
# ends, or waits for its Redis, and in neither case would it help to start another.
STOPSIGNAL SIGTERM
ENTRYPOINT ["windfall"]
CMD ["worker"]
