"""The gradients at corners, ties and poles, beside torch's and JAX's: what `tensorad.rule` says of an op.

docs/conventions.md has the same rows, and the policy behind them.
"""

from typing import NamedTuple


class Convention(NamedTuple):
    """What the gradient is at a hard point; `≠` marks where it departs from torch's on purpose."""

    ops: str  # the names of the ops that it is about
    where: str
    torch: str
    jax: str
    ours: str


# fmt: off

CONVENTIONS = [
    Convention("abs", "`abs(x)` at 0", "0", "1", "0"),
    Convention("relu", "`relu(x)` at 0", "0", "0", "0"),
    Convention("maximum", "`maximum(x, 0)` at 0, by x", "0.5", "0.5", "0.5: a tie with a constant is a tie"),
    Convention("hardtanh", "`hardtanh(x)` at 1", "0", "1", "0"),
    Convention("elu", "`elu(x)` at 0", "1", "1", "1"),
    Convention("clamp clip", "`clamp` at a bound", "1", "0.5 (`lax.clamp`: 0)", "1"),
    Convention("sign floor round trunc", "`sign`, `floor`, `round`, `trunc`, at a jump too", "0", "0", "0"),
    Convention("heaviside", "`heaviside(0, 0.5)`", "has no rule", "0; 1", "0; 1 **≠**"),
    Convention("nan_to_num", "`nan_to_num` at NaN or inf", "0", "0", "0"),
    Convention("sqrt", "`sqrt(x)` at 0", "inf", "inf", "inf"),
    Convention("sqrt", "`sqrt(x * x)` at 0", "NaN", "NaN", "NaN: inf times 0. `abs(x)` or `norm(x)` say what is meant"),
    Convention("norm linalg.vector_norm", "2-norm of the zero vector", "0", "NaN", "0"),
    Convention("norm linalg.vector_norm", "1-norm of [0, 1]", "[0, 1]", "[1, 1]", "[0, 1]"),
    Convention("linalg.norm linalg.matrix_norm", "Frobenius norm of the zero matrix", "0", "NaN", "0"),
    Convention("hypot", "`hypot(0, 0)`", "NaN", "0.5; 0.5", "0; 0 **≠**, as for the norm"),
    Convention("std", "`std` of equal values", "0", "NaN", "0"),
    Convention("std", "`std` of one value, corrected", "NaN", "NaN", "NaN, as the value itself"),
    Convention("var", "`var` of equal values", "0", "0", "0"),
    Convention("nn.functional.normalize", "`normalize` of the zero vector", "1e12", "–", "1e12"),
    Convention("cosine_similarity", "`cosine_similarity` of 0 and v", "1e8", "–", "1e8"),
    Convention("max", "`max(x)` of [1, 1, 0]", "[0.5, 0.5, 0]", "the same", "split evenly"),
    Convention("max", "`max(x, dim)`: values of [1, 1, 0]", "[1, 0, 0]", "split", "[1, 0, 0]: the entry whose index is returned"),
    Convention("amax", "`amax`, a tie", "split", "split", "split evenly"),
    Convention("maximum minimum", "`maximum`, `minimum`, a tie", "0.5; 0.5", "0.5; 0.5", "0.5; 0.5"),
    Convention("fmax", "`fmax`, a tie", "1; 0 (fwd 0; 1)", "0; 1", "0.5; 0.5 **≠**"),
    Convention("maximum", "`maximum(NaN, 1)`", "1; 1 (fwd 0; 1)", "0; 0", "1; 0 **≠**: the NaN is the result, and takes all"),
    Convention("median", "`median` of four values", "the lower one: [0, 1, 0, 0]", "mean of the two", "the lower one"),
    Convention("sort", "`sort` of [1, 1, 0], weighted with [1, 10, 100]", "[10, 100, 1]", "the same", "[10, 100, 1]: by index"),
    Convention("max_pool1d max_pool2d max_pool3d", "`max_pool1d(x, 2)` of [1, 1]", "[1, 0]", "–", "[1, 0]: by index"),
    Convention("max_unpool1d max_unpool2d max_unpool3d", "`max_unpool1d` of two equal values at one place", "1; 1 (mass 2)", "–", "0.5; 0.5 **≠**"),
    Convention("topk", "`topk`, k = 1, of [1, 1, 1]", "[1, 0, 0]", "the same", "[1, 0, 0]: by index"),
    Convention("pow", "`pow(0, 0)`", "0; 0", "NaN; 0", "0; 0"),
    Convention("pow", "`pow(0, 0.5)`", "inf; 0", "the same (fwd NaN)", "inf; 0"),
    Convention("pow", "`pow(0, 1)`, `pow(0, 2)`, `pow(0, 3)`", "1; 0, then 0; 0 twice", "the same", "the same"),
    Convention("pow", "`pow(0, -1)`", "−inf; −inf", "−inf; NaN", "−inf; −inf"),
    Convention("pow", "`pow(-2, 2)`", "−4; NaN", "−4; NaN", "−4; NaN, and just −4 where the exponent is a constant: the NaN is then not computed"),
    Convention("pow", "`pow(-2, 0.5)`", "NaN; NaN", "the same", "NaN; NaN"),
    Convention("pow", "`x**0` and `x**0.0` at 0", "0; 0", "0; NaN", "0; 0"),
    Convention("pow", "`0**y` at y = 0 or 2", "0", "0", "0"),
    Convention("log", "`log(x)` at 0", "inf", "inf", "inf"),
    Convention("log", "`log(x)` at −1, where the value is NaN", "−1", "−1", "−1"),
    Convention("xlogy", "`x * log(x)` at 0", "NaN", "NaN", "NaN: 0 times inf"),
    Convention("logaddexp", "`logaddexp(inf, inf)`", "NaN", "1; 1, mass 2", "NaN"),
    Convention("logaddexp", "`logaddexp(1000, 0)`, second derivative", "NaN", "–", "0 **≠**"),
    Convention("log1p softplus", "`log(1 + exp(x))` at 1000", "NaN", "NaN", "NaN; `softplus(x)` gives 1"),
    Convention("prod", "`prod` of [0, 2, 3]", "[6, 0, 0]", "the same", "[6, 0, 0]"),
    Convention("prod", "`prod` of [0, 0, 3], also at second order", "[0, 0, 0], right", "the same", "[0, 0, 0], right"),
    Convention("where", "`where(x > 0, log(x), 0)` at 0", "NaN", "NaN", "NaN: the branch not taken has slope inf, and 0 times inf is NaN"),
    Convention("where", "the same in forward mode", "0", "0", "has no forward mode yet; that the two modes differ here is worth knowing"),
    Convention("where", "`where(x > 0, log(where(x > 0, x, 1)), 0)` at 0", "0", "0", "0: the way out"),
    Convention("atan2", "`atan2(0, 0)`", "0; −0 (fwd NaN)", "NaN", "0; −0"),
    Convention("asin acos", "`asin(x)`, `acos(x)` at 1", "inf, −inf", "the same", "inf, −inf"),
    Convention("sinc", "`sinc(x)` at 0; its second derivative", "0; NaN", "0; −π²/3", "0; −π²/3 **≠**"),
    Convention("lgamma", "`lgamma(x)` at 0", "−inf", "NaN", "−inf"),
    Convention("softmax", "`softmax` of [0, −inf]", "[0, 0]", "the same", "[0, 0]"),
    Convention("softmax", "`softmax`, all −inf", "NaN", "NaN", "NaN"),
    Convention("log_softmax", "`log_softmax` of [0, −inf], first entry", "[0, 0]", "the same", "[0, 0]"),
    Convention("logsumexp", "`logsumexp` of [0, −inf]", "[1, 0]", "the same", "[1, 0]"),
    Convention("logsumexp", "`logsumexp`, all −inf", "NaN", "NaN", "NaN"),
    Convention("linalg.eigvalsh", "`eigvalsh` of the identity, weighted with [1, 2]", "diag(1, 2)", "the same", "the same; it depends on the basis that was found"),
    Convention("linalg.eigh", "`eigh`, vectors of a repeated value", "NaN", "NaN", "NaN"),
    Convention("svd linalg.svd", "`svd`, vectors of a repeated value", "NaN", "NaN", "NaN"),
    Convention("linalg.svdvals", "`svdvals` of the identity, weighted with [1, 2]", "diag(1, 2)", "the same", "the same"),
    Convention("det linalg.det", "`det` of a matrix of rank n − 1", "0, which is wrong; right with `create_graph`", "right: the adjugate", "the adjugate **≠**"),
    Convention("slogdet linalg.slogdet", "`slogdet` of a singular matrix", "inf of both signs", "opposite signs of inf", "NaN or inf"),
    Convention("cholesky_solve cholesky_inverse", "`cholesky_solve`, `cholesky_inverse`: the triangle that is not read", "not 0", "–", "0 **≠**"),
    Convention("as_strided_scatter", "`as_strided_scatter`, by the input", "the entries that are overwritten get it", "–", "the entries that are kept get it **≠**"),
    Convention("ctc_loss", "`ctc_loss(log_probs)`", "right behind a `log_softmax` only: it adds `exp(log_probs)`", "–", "the derivative **≠**; the same as torch's behind a `log_softmax`"),
    Convention("linear_cross_entropy", "`linear_cross_entropy` in chunks, second derivative", "0", "–", "that of the whole **≠**"),
    Convention("_weight_norm", "`torch._weight_norm`, second derivative", "wrong", "–", "right **≠**"),
    Convention("abs", "`abs(z)` at 0", "0", "0", "0"),
    Convention("angle", "`angle(z)` at 0", "0", "NaN", "0"),
    Convention("abs", "`abs(z)` at 3 + 4i", "0.6 + 0.8i", "0.6 − 0.8i", "0.6 + 0.8i"),
    Convention("real", "real part of z² at 1 + 2i", "2 − 4i", "2 + 4i", "2 − 4i"),
]

# fmt: on
