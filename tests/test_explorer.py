"""The sliders drive the model, without a browser."""

import io

import numpy as np
import pytest
import torch
from conftest import refused
from PIL import Image

from minivae import CVAE, VAE, Autoencoder
from minivae.explorer import sliders

SIZES = {"hidden": (8,), "n_latent": 2}


def picture(widget):
    image = Image.open(io.BytesIO(widget.picture.value))
    return 1 - np.asarray(image.resize((28, 28), Image.NEAREST)) / 255


@pytest.mark.parametrize("kind", [Autoencoder, VAE, CVAE])
def test_a_slider_moves_the_code_and_the_picture_follows(kind):
    model = kind(**SIZES)
    widget = sliders(model)
    before = widget.picture.value
    widget.z[0].value, widget.z[1].value = 1.5, -2.0
    assert widget.picture.value != before
    y = torch.tensor([0]) if kind is CVAE else None
    with torch.no_grad():
        drawn = model.draw(torch.tensor([[1.5, -2.0]]), y).view(28, 28)
    assert np.abs(picture(widget) - drawn.numpy()).max() <= 0.5 / 255 + 1e-6


def test_buttons_choose_the_digit_of_a_conditional_model():
    model = CVAE(**SIZES)
    widget = sliders(model)
    before = widget.picture.value
    widget.digit.value = "5"
    assert widget.picture.value != before
    with torch.no_grad():
        drawn = model.draw(torch.zeros(1, 2), torch.tensor([5])).view(28, 28)
    assert np.abs(picture(widget) - drawn.numpy()).max() <= 0.5 / 255 + 1e-6
    assert sliders(VAE(**SIZES)).digit is None


def test_several_conditions_have_no_buttons_and_are_refused():
    model = CVAE(**SIZES, conditions=(10, 1))
    with refused("model:", ValueError) as caught:
        sliders(model)
    assert "(10, 1)" in str(caught.value)
    assert "sample_digits" in str(caught.value)


def test_the_last_of_many_moves_is_the_one_that_is_shown():
    widget = sliders(VAE(**SIZES))
    for value in np.linspace(-3, 3, 100):
        widget.z[0].value = value
    shown = widget.picture.value
    widget.z[0].value = 0.0
    widget.z[0].value = 3.0
    assert widget.picture.value == shown


def test_many_dimensions_get_as_many_sliders_as_fit():
    widget = sliders(VAE(n_latent=40, hidden=(8,)))
    assert len(widget.z) == 12
    widget.z[11].value = 2.0
    assert widget.image().shape == (28, 28)


def test_what_is_stored_has_a_still_and_no_address():
    widget = sliders(VAE(**SIZES))
    assert repr(widget) == "Sliders(VAE, 2 for z)"
    bundle = widget._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["text/plain"] == repr(widget)
    assert Image.open(io.BytesIO(data["image/png"])).format == "PNG"
