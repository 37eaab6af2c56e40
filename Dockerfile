# The programs and libtorch in an image without Rust and Python: `docker build --tag llama-finetuning .`
# For an NVIDIA GPU: `docker build --build-arg BUILD=cu128 …`; docs/setup.md says which build serves which driver.
FROM rust:1-bookworm AS build
ARG BUILD=cpu
WORKDIR /src
COPY . .
RUN cargo xtask setup --cuda "$BUILD"
# The image's directories take the place of the clone's.
RUN LIBTORCH_RPATH='$ORIGIN/../torch/lib' cargo build --release --package cli --bin llama-ft
RUN mkdir -p /out/bin /out/torch \
    && cp target/release/llama-ft /out/bin/ \
    && for path in crates/cli/src/bin/*.rs; do \
        name=$(basename "$path" .rs); [ "$name" = llama-ft ] || ln -s llama-ft "/out/bin/$name"; \
    done \
    && cp -r .libtorch/torch/lib /out/torch/lib \
    && cp -r .libtorch/*.dist-info /out/ \
    && if [ -d .libtorch/nvidia ]; then cp -r .libtorch/nvidia /out/nvidia; fi \
    && cp -r LICENSE datasets /out/

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libstdc++6 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /out /opt/llama-finetuning
# For NVIDIA's container toolkit.
ENV PATH=/opt/llama-finetuning/bin:$PATH NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /work
EXPOSE 7860
ENTRYPOINT ["llama-ft"]
CMD ["--help"]
