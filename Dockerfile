# The library in a container, without root:
#
#   docker build --tag recsim-gen .
#   docker run --rm --volume "$PWD:/work" --user "$(id -u):$(id -g)" recsim-gen train_ranker --ranker bpr
#
# What it writes lies in the folder it is started in. With a GPU add --gpus all: torch brings its CUDA.
FROM python:3.11.11-slim

WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY recsim_gen recsim_gen
COPY rankers rankers
COPY generators generators
COPY analysis analysis
RUN pip install --no-cache-dir --constraint constraints.txt ".[offline,hub,metrics,recbole]"

RUN useradd --create-home --home-dir /work recsim
USER recsim
WORKDIR /work
# Caches lie in the mounted folder, whoever the user is.
ENV HOME=/work
ENTRYPOINT ["recsim-gen"]
CMD ["--help"]
