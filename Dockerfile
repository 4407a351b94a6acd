# syntax=docker/dockerfile:1
# The server with the CPU engine and the bundled model in it.
#   docker build -t smc-decode .
#   docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/api-key:/run/secrets/smc-api-key:ro" smc-decode
# The container listens on all its addresses, and off loopback the server wants an API key: the file above holds it.
FROM python:3.11-slim-bookworm

# bubblewrap: the sandbox. libnuma1: linked by the engine. libtcmalloc-minimal4: speed.
RUN apt-get update \
    && apt-get install -y --no-install-recommends bubblewrap libnuma1 libtcmalloc-minimal4 \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 smc && install -d -o smc -g smc /app /opt/smc /cache
USER smc
WORKDIR /app
ENV XDG_CACHE_HOME=/cache \
    PATH=/opt/smc/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1

# What decides the dependencies first, so that an edit of the code does not install them again.
COPY --chown=smc:smc pyproject.toml setup.py README.md LICENSE ./
COPY --chown=smc:smc scripts/setup.sh scripts/
RUN mkdir smc_decode server benchmarks && touch smc_decode/__init__.py server/__init__.py benchmarks/__init__.py \
    && scripts/setup.sh /opt/smc cpu rewards

COPY --chown=smc:smc smc_decode smc_decode
COPY --chown=smc:smc server server
COPY --chown=smc:smc benchmarks benchmarks
RUN python -m smc_decode.engines.bundled_model

# The bundled model is in here already; models of the hub that --model names are kept here too.
VOLUME /cache
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["smc-decode"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000", "--api-key-file", "/run/secrets/smc-api-key"]
