"""Statistics of A/B tests computed by SciPy and statsmodels, one case per line.

    pip install -r tests/peers/requirements-distances.txt
    python tests/peers/experiment.py > crates/experiment/tests/fixtures/experiment.jsonl

Each kind uses another method than Driftwarden. The confidence sequence is the boundary where the mixture of likelihood ratios reaches
1/alpha, found by integrating that mixture. Posteriors use adaptive quadrature over densities. The sample ratio uses `chisquare`,
`dirichlet_multinomial`, and `multinomial`. Plans use `statsmodels` and root finding.
"""

import json
import math

import numpy as np
from scipy import integrate, optimize, stats
from statsmodels.stats.power import NormalIndPower


def write(kind, asked, **expected):
    print(json.dumps({"kind": kind, **asked, "expected": expected}, separators=(",", ":")))


def rho(alpha, narrowest):
    """Howard et al. 2021, section 3.5."""
    log = 2 * math.log(1 / alpha)
    return narrowest / (log + math.log(1 + log))


def boundary(alpha, narrowest, information):
    """The sum at which the mixture of likelihood ratios over N(0, 1/rho) is 1/alpha, integrated numerically."""
    deviation = 1 / math.sqrt(rho(alpha, narrowest))

    def log_mixture(total):
        # The integrand is bell-shaped: it is integrated around its center and scaled by its height.
        precision = information + 1 / deviation**2
        middle, width = total / precision, 1 / math.sqrt(precision)
        height = middle * total - middle**2 * information / 2 + stats.norm.logpdf(middle, 0, deviation)

        def scaled(x):
            return math.exp(x * total - x * x * information / 2 + stats.norm.logpdf(x, 0, deviation) - height)

        area, _ = integrate.quad(scaled, middle - 12 * width, middle + 12 * width, epsabs=0, epsrel=1e-12, limit=200)
        return height + math.log(area)

    upper = 1.0
    while log_mixture(upper) < -math.log(alpha):
        upper *= 2
    return optimize.brentq(lambda total: log_mixture(total) + math.log(alpha), 0, upper, xtol=1e-12, rtol=1e-14)


def sequences():
    for alpha in (0.01, 0.05, 0.1):
        for narrowest in (100.0, 20000.0):
            for information in (50.0, 5000.0, 400000.0):
                half = boundary(alpha, narrowest, information) / information
                write("sequence", {"alpha": alpha, "narrowest": narrowest, "information": information}, halfWidth=half)


def posteriors():
    for champion, challenger in [((80, 100), (90, 100)), ((850, 1000), (852, 1000)), ((3, 5000), (9, 1000)), ((0, 10), (0, 12))]:
        ours = stats.beta(challenger[0] + 1, challenger[1] - challenger[0] + 1)
        theirs = stats.beta(champion[0] + 1, champion[1] - champion[0] + 1)
        points = sorted({float(d.ppf(q)) for d in (ours, theirs) for q in (1e-12, 1e-3, 0.5, 1 - 1e-3, 1 - 1e-12)})

        def pieces(f):
            ends = [0.0, *points, 1.0]
            return sum(integrate.quad(f, a, b, epsabs=1e-14, epsrel=1e-12, limit=200)[0] for a, b in zip(ends, ends[1:]))

        higher = pieces(lambda x: ours.pdf(x) * theirs.cdf(x))
        # E max(p - q, 0), p the champion's rate and q the challenger's, is the integral of P(q < x < p).
        loss = pieces(lambda x: ours.cdf(x) * theirs.sf(x))
        write("proportions", {"champion": champion, "challenger": challenger}, challengerHigher=higher, expectedLoss=loss)
    for estimate, variance in [(0.5, 0.04), (-0.01, 0.0004), (3.0, 1.0)]:
        normal = stats.norm(estimate, math.sqrt(variance))
        loss = integrate.quad(lambda x: -x * normal.pdf(x), estimate - 40 * math.sqrt(variance), 0, epsabs=1e-15, epsrel=1e-12)[0]
        write("means", {"estimate": estimate, "variance": variance}, challengerHigher=float(normal.sf(0)), expectedLoss=loss)


def ratios():
    for counts, weights in [
        ((4500, 1010, 1990, 1500, 1000), (45, 10, 20, 15, 10)),
        ((4700, 810, 1990, 1500, 1000), (45, 10, 20, 15, 10)),
        ((30, 70), (1, 1)),
        ((9520, 480), (95, 5)),
        ((0, 12), (1, 3)),
    ]:
        counts, shares = np.array(counts), np.array(weights) / sum(weights)
        total = int(counts.sum())
        chisquare = stats.chisquare(counts, shares * total)
        mixture = stats.dirichlet_multinomial.logpmf(counts, 1000.0 * shares, total)
        fixed = stats.multinomial.logpmf(counts, total, shares)
        write(
            "ratio",
            {"counts": counts.tolist(), "weights": list(map(float, weights))},
            statistic=float(chisquare.statistic),
            pvalue=float(chisquare.pvalue),
            anytimePvalue=min(1.0, float(np.exp(fixed - mixture))),
        )


def plans():
    for alpha, power, effect, variance, weights in [
        (0.05, 0.8, 0.02, 0.09, (0.5, 0.5)),
        (0.05, 0.9, 0.01, 0.1056, (0.9, 0.1)),
        (0.01, 0.8, 1.5, 49.0, (0.75, 0.25)),
    ]:
        champion, challenger = weights
        z = stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)
        information = (z / effect) ** 2
        of_one = variance * (1 / champion + 1 / challenger)
        # Size of the champion's sample. The challenger's is `ratio` times that.
        first = NormalIndPower().solve_power(
            effect / math.sqrt(variance), power=power, alpha=alpha, ratio=challenger / champion, alternative="two-sided"
        )
        r, quantile = rho(alpha, information), stats.norm.ppf(power)

        def crosses(i):
            return effect * i - quantile * math.sqrt(i) - math.sqrt((i + r) * math.log((i + r) / (r * alpha**2)))

        anytime = optimize.brentq(crosses, information * 0.5, information * 20, rtol=1e-14)
        write(
            "plan",
            {"alpha": alpha, "power": power, "effect": effect, "variance": variance, "weights": weights},
            information=float(information),
            fixedRequests=float(first * (1 + challenger / champion)),
            requests=float(anytime * of_one),
        )


sequences()
posteriors()
ratios()
plans()
