# One process of Meanwhile. compose.yaml runs several of it; docs/how-to/run-on-postgresql-and-redis.md explains both.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 VAR_DIR=/var/lib/meanwhile
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY manage.py ./
COPY config config
COPY apps_registry apps_registry
COPY messaging messaging
COPY templates templates

RUN useradd --system meanwhile && install -d -o meanwhile /var/lib/meanwhile
USER meanwhile
EXPOSE 8000
HEALTHCHECK --interval=10s --start-period=20s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=5)"]
# SIGTERM: clients are told when to come back, what waits is written.
CMD ["python", "manage.py", "serve", "0.0.0.0:8000"]
