"""Gone: the checks of the exercises are the package `minivae_course`."""

raise ImportError(
    "minivae.checks is now the package minivae_course: write "
    "`from minivae_course import check_gaussian_kl`"
)
