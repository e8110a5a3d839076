# Perpcache in one image: `serve` by default, or `api`, `worker`, `collect 4h` ... as the command.
# The tag names a Python that the pinned wheels are made for; rebuild for its security fixes.

FROM python:3.11.14-slim-bookworm AS packages

WORKDIR /build
COPY requirements.txt .
RUN python -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary=:all: -r requirements.txt


FROM python:3.11.14-slim-bookworm

# The embedded PostgreSQL needs a user in /etc/passwd; /data is 0700 because passwords lie there.
RUN groupadd --system --gid 10001 perpcache \
    && useradd --system --uid 10001 --gid perpcache --create-home --home-dir /home/perpcache \
        --shell /usr/sbin/nologin perpcache \
    && install -d -o perpcache -g perpcache -m 0700 /data

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    PORT=8000 \
    DATA_DIR=/data \
    LOG_FORMAT=json

WORKDIR /app
COPY --from=packages /opt/venv /opt/venv
# .dockerignore names what stays out.
COPY . .

USER 10001:10001
VOLUME /data
EXPOSE 8000

# A worker alone has no HTTP: turn this off there, and watch GET /ready of an API.
HEALTHCHECK --interval=10s --timeout=4s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/health', timeout=3)"]

# On SIGTERM open requests are answered, the job returns to the queue, then the stores stop.
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "main.py"]
CMD ["serve"]
