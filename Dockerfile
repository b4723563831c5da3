# Image of the engine. The wheel is built in one stage and installed in another.

FROM node:22-bookworm-slim AS pages
WORKDIR /build/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci --no-audit --no-fund
COPY web ./
RUN npm run build

FROM rust:1.95-bookworm AS wheel
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /maturin \
    && /maturin/bin/pip install --no-cache-dir maturin==1.16.0
WORKDIR /build
COPY Cargo.toml Cargo.lock pyproject.toml README.md LICENSE-MIT LICENSE-APACHE ./
COPY src ./src
COPY patches ./patches
COPY migrations ./migrations
COPY tests/decoders ./tests/decoders
COPY tests/it ./tests/it
COPY tests/simulation ./tests/simulation
COPY tests/tidy ./tests/tidy
COPY python ./python
COPY --from=pages /build/python/order_engine/static ./python/order_engine/static
COPY README.md CHANGELOG.md SECURITY.md ./python/order_engine/static/documents/
COPY docs/*.md ./python/order_engine/static/documents/docs/
RUN /maturin/bin/maturin build --release --locked --out /wheels

FROM python:3.13-slim-bookworm
RUN useradd --system --create-home --home-dir /engine engine
COPY --from=wheel /wheels/*.whl /tmp/
RUN pip install --no-cache-dir /tmp/*.whl && rm /tmp/*.whl
USER engine
WORKDIR /engine
# Health and metrics use one port, whichever contracts are served.
ENV ORDER_ENGINE_HOST=0.0.0.0 METRICS_PORT=9202
EXPOSE 5000 4000 3003 8002 8003 9202
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD \
    ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9202/readyz')"]
ENTRYPOINT ["order-engine"]
CMD ["serve"]
