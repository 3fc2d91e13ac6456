"""What an exercise asks to be written, and the package already has.

An answer that calls it has not been written; elsewhere in the book the same
function may be used freely.
"""

# exercise -> "module:function" or "module:Class.method"
REFERENCES: dict[str, tuple[str, ...]] = {
    "one_normal": ("minivae.latent:fit_codes",),
    "normal_log_density": (
        "minivae.objective:gaussian_log_density",
        "minivae.objective:gaussian_log_likelihood",
    ),
    "bernoulli_from_logits": ("minivae.objective:bernoulli_log_likelihood",),
    "evidence_on_a_line": ("minivae.evaluate:log_evidence",),
    "importance_weights": ("minivae.objective:importance_bound",),
    "effective_beta": ("minivae.objective:effective_beta",),
    "gaussian_kl": (
        "minivae.objective:gaussian_kl",
        "minivae.objective:gaussian_kl_between",
        "minivae.priors:StandardNormal.kl",
        "minivae.priors:StandardNormal.kl_each",
    ),
    "reparameterize": ("minivae.objective:reparameterize",),
    "quantile_codes": ("minivae.latent:quantile_grid",),
    "new_digits": ("minivae.latent:sample",),
    "importance_bound": (
        "minivae.evaluate:log_importance_weights",
        "minivae.evaluate:log_likelihood",
        "minivae.objective:importance_bound",
    ),
    "grid_evidence": ("minivae.evaluate:log_evidence",),
    "best_q": ("minivae.evaluate:optimise_q",),
    "active_units": ("minivae.evaluate:active_units",),
    "split_of_the_kl": ("minivae.evaluate:split_kl",),
    "level_log_mass": ("minivae.likelihoods:DiscretizedLogistic.log_prob",),
    "grey_area": ("minivae.likelihoods:ContinuousBernoulli.log_prob",),
    "mixture_prior": (
        "minivae.priors:Mixture.log_prob",
        "minivae.priors:Mixture.sample",
    ),
    "build_vae": ("minivae.models:VAE.__init__", "minivae.models:VAE.forward"),
    "linear_probe": ("minivae.probes:linear_probe",),
    "slant_from_moments": ("minivae.probes:slant",),
    "any_mask": ("minivae.completion:PixelCVAE.condition_vector",),
    "fill_in": ("minivae.completion:complete",),
    "hidden_bound": ("minivae.completion:PixelCVAE.forward",),
    "m2_bound": ("minivae.models:VAE.forward", "minivae.semi:M2.forward"),
    "ratio_within_rounds": ("minivae.timing:ratios",),
    "count_multiply_adds": ("minivae.timing:multiply_adds",),
    "eleventh_patient": ("minivae.objective:gaussian_kl",),
    "two_wrongs": ("minivae.objective:gaussian_kl",),
}
