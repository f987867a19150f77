FROM debian:bookworm-slim
RUNN true
