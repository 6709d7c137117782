# The search service alone, on the CPU. docs/guides/serving.md shows how to run it.

FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md ./
COPY fclip fclip
COPY tasks tasks
COPY flows flows
# Flight is a fifth of pyarrow, and nothing here uses it.
RUN python -m venv --without-pip /opt/fclip \
    && python -m pip --python /opt/fclip/bin/python install --no-cache-dir --no-compile '.[serve]' \
    && rm -rf /opt/fclip/lib/python3.11/site-packages/pyarrow/include \
        /opt/fclip/lib/python3.11/site-packages/pyarrow/tests \
        /opt/fclip/lib/python3.11/site-packages/pyarrow/src \
        /opt/fclip/lib/python3.11/site-packages/pyarrow/*flight*

FROM python:3.11-slim
COPY --from=build /opt/fclip /opt/fclip
ENV PATH=/opt/fclip/bin:$PATH
RUN useradd --system --uid 10001 --no-create-home fclip
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["fclip", "serve", "/srv/shop", "--host", "0.0.0.0"]
