"""The same recipe in other packages, each through its own trainer.

They are imported late: neither is needed for anything else.
"""

import tempfile

import torch
from torch import Tensor, nn

from benchmarks.loops import BATCH, LR, Bare, Tick, loader
from minivae import load_digits


def pythae(tick: Tick) -> None:
    """Chadebec et al. 2022: BaseTrainer.

    Its data sets are fixed, so pixels are drawn once, before the start:
    less work than the others have.
    """
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Sequential(nn.Linear(784, 400), nn.ReLU())
            self.mu, self.logvar = nn.Linear(400, 20), nn.Linear(400, 20)

        def forward(self, x: Tensor) -> ModelOutput:
            h = self.hidden(x)
            return ModelOutput(
                embedding=self.mu(h), log_covariance=self.logvar(h)
            )

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(*Bare().decoder, nn.Sigmoid())

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.net(z))

    class Ticking(TrainingCallback):
        def on_train_step_end(self, training_config, **_) -> None:
            tick(BATCH)  # a step; it is told no number of digits

    model = VAE(
        VAEConfig((784,), latent_dim=20, reconstruction_loss="bce"),
        Encoder(),
        Decoder(),
    )
    digits = load_digits("mnist")
    x = torch.bernoulli(digits.images.flatten(1).float() / 255)
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=1000,
            learning_rate=LR,
            per_device_train_batch_size=BATCH,
            no_cuda=True,
        )
        BaseTrainer(
            model,
            BaseDataset(x, digits.labels),
            training_config=config,
            callbacks=[Ticking()],
        ).train()


def pyro(tick: Tick) -> None:
    """Bingham et al. 2019: SVI with Trace_ELBO, as in its VAE tutorial."""
    import pyro
    from pyro import distributions, infer, optim

    distributions.enable_validation(False)  # as the tutorial does
    net = Bare()

    def model(x: Tensor) -> None:
        pyro.module("decoder", net.decoder)
        with pyro.plate("digits", len(x)):
            zero = x.new_zeros(len(x), 20)
            prior = distributions.Normal(zero, zero + 1).to_event(1)
            logits = net.decoder(pyro.sample("z", prior))
            likelihood = distributions.Bernoulli(logits=logits).to_event(1)
            pyro.sample("x", likelihood, obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("encoder", net.encoder)
        with pyro.plate("digits", len(x)):
            mu, logvar = net.encoder(x).chunk(2, -1)
            q = distributions.Normal(mu, torch.exp(0.5 * logvar))
            pyro.sample("z", q.to_event(1))

    svi = infer.SVI(model, guide, optim.Adam({"lr": LR}), infer.Trace_ELBO())
    while True:
        for images, _ in loader():
            x = torch.bernoulli(images.flatten(1))
            svi.step(x)
            tick(len(x))
