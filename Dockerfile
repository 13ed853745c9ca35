# A worker that only calls the cloud, and the command line. It has no MLX, because no container can use a Mac's GPU.
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
# SIGTERM drains it; allow more than --drain-timeout before it is killed. There is no HEALTHCHECK: a worker that cannot work
# exits, or waits for its Redis, and in neither case would another one help.
STOPSIGNAL SIGTERM
ENTRYPOINT ["windfall"]
CMD ["worker"]
