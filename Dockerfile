# A classroom image: what JupyterHub starts for each student, and what
# `docker run -p 8888:8888 IMAGE` shows at http://localhost:8888.
#
#     docker build --tag minivae-class .
#     docker build --tag minivae-class --build-arg TORCH=cpu .
#
# The lock has the torch with CUDA, which makes the image about 5 GB larger
# than it has to be for a class without GPUs. TORCH=cpu takes the same version
# from PyTorch's own index, where its hash is another one, so hashes are then
# not checked.
FROM quay.io/jupyter/minimal-notebook:2026-08-10

ARG TORCH=locked
ARG UV_VERSION=0.13.9

# not in the home folder, which a hub covers with the student's own
WORKDIR /opt/minivae
COPY --chown=${NB_UID}:${NB_GID} requirements.lock pyproject.toml ./
RUN python -m pip install --no-cache-dir "uv==${UV_VERSION}" && \
    if [ "${TORCH}" = locked ]; then \
        set --; \
    else \
        set -- --no-verify-hashes --torch-backend "${TORCH}"; \
    fi && \
    uv pip install --system --no-cache "$@" --constraints requirements.lock \
        --requirements pyproject.toml --extra book --extra course && \
    fix-permissions "${CONDA_DIR}" && \
    fix-permissions "/home/${NB_USER}"

COPY --chown=${NB_UID}:${NB_GID} . ./
RUN uv pip install --system --no-cache --no-deps . && \
    fix-permissions "${CONDA_DIR}"

# user, start command and health check are those of the base
WORKDIR "${HOME}"
