"""Sums, products, norms, extremes, order statistics, running totals, softmax: every form, and the corners."""

import math

import pytest
import torch
from expressions import bent, cases
from oracle import agree, by_tensorad, by_torch, rand
from torch.nn import functional

import tensorad as ts

inf, nan = math.inf, math.nan

# An expression in x (and y), as a user types it, and the shapes of its arguments.
ROWS = """
torch.sum(x)                                                  |  ; 4 ; 3,4 ; 2,3,4
torch.sum(x, dim=0)                                           |  ; 4 ; 2,3
torch.sum(x, -1, True)                                        |  ; 2,3,4
torch.sum(x, (0, -1))                                         | 2,3 ; 2,3,4
torch.sum(x, dim=[1], keepdim=True)                           | 2,3,4
torch.sum(x, ())                                              | 2,3
x.sum()                                                       | 2,3
x.sum(1)                                                      | 2,3 ; 2,0
x.sum((2, 0), keepdim=True)                                   | 2,3,4
x.sum(axis=1, keepdims=True)                                  | 2,3
torch.nansum(x)                                               |  ; 4 ; 3,4 ; 2,3,4
torch.nansum(x, dim=0)                                        |  ; 4 ; 2,3
torch.nansum(x, -1, True)                                     |  ; 2,3,4
torch.nansum(x, (0, -1))                                      | 2,3 ; 2,3,4
torch.nansum(x, dim=[1], keepdim=True)                        | 2,3,4
torch.nansum(x, ())                                           | 2,3
x.nansum()                                                    | 2,3
x.nansum(1)                                                   | 2,3 ; 2,0
x.nansum((2, 0), keepdim=True)                                | 2,3,4
x.nansum(axis=1, keepdims=True)                               | 2,3
torch.mean(x)                                                 |  ; 4 ; 3,4 ; 2,3,4
torch.mean(x, dim=0)                                          |  ; 4 ; 2,3
torch.mean(x, -1, True)                                       |  ; 2,3,4
torch.mean(x, (0, -1))                                        | 2,3 ; 2,3,4
torch.mean(x, dim=[1], keepdim=True)                          | 2,3,4
torch.mean(x, ())                                             | 2,3
x.mean()                                                      | 2,3
x.mean(1)                                                     | 2,3 ; 0,2
x.mean((2, 0), keepdim=True)                                  | 2,3,4
x.mean(axis=1, keepdims=True)                                 | 2,3
torch.nanmean(x)                                              |  ; 4 ; 3,4 ; 2,3,4
torch.nanmean(x, dim=0)                                       |  ; 4 ; 2,3
torch.nanmean(x, -1, True)                                    |  ; 2,3,4
torch.nanmean(x, (0, -1))                                     | 2,3 ; 2,3,4
torch.nanmean(x, dim=[1], keepdim=True)                       | 2,3,4
torch.nanmean(x, ())                                          | 2,3
x.nanmean()                                                   | 2,3
x.nanmean(1)                                                  | 2,3 ; 0,2
x.nanmean((2, 0), keepdim=True)                               | 2,3,4
x.nanmean(axis=1, keepdims=True)                              | 2,3
torch.amax(x)                                                 |  ; 4 ; 3,4 ; 2,3,4
torch.amax(x, dim=0)                                          |  ; 4 ; 2,3
torch.amax(x, -1, True)                                       |  ; 2,3,4
torch.amax(x, (0, -1))                                        | 2,3 ; 2,3,4
torch.amax(x, dim=[1], keepdim=True)                          | 2,3,4
torch.amax(x, ())                                             | 2,3
x.amax()                                                      | 2,3
x.amax(1)                                                     | 2,3 ; 0,2
x.amax((2, 0), keepdim=True)                                  | 2,3,4
x.amax(axis=1, keepdims=True)                                 | 2,3
torch.amin(x)                                                 |  ; 4 ; 3,4 ; 2,3,4
torch.amin(x, dim=0)                                          |  ; 4 ; 2,3
torch.amin(x, -1, True)                                       |  ; 2,3,4
torch.amin(x, (0, -1))                                        | 2,3 ; 2,3,4
torch.amin(x, dim=[1], keepdim=True)                          | 2,3,4
torch.amin(x, ())                                             | 2,3
x.amin()                                                      | 2,3
x.amin(1)                                                     | 2,3 ; 0,2
x.amin((2, 0), keepdim=True)                                  | 2,3,4
x.amin(axis=1, keepdims=True)                                 | 2,3
torch.var(x)                                                  | 4 ; 2,3,4
torch.var(x, False)                                           | 3,4,2
torch.var(x, unbiased=False)                                  | 3,4,2
torch.var(x, unbiased=True)                                   | 3,4,2
torch.var(x, 0)                                               | 3,4,2
torch.var(x, 0, False)                                        | 3,4,2
torch.var(x, 0, True, True)                                   | 3,4,2
torch.var(x, dim=(0, 1), unbiased=False, keepdim=True)        | 3,4,2
torch.var(x, 1, correction=2)                                 | 3,4,2
torch.var(x, (2, 0), correction=0)                            | 3,4,2
torch.var(x, correction=0.5)                                  | 3,4,2
torch.var(x, axis=1, keepdims=True)                           | 3,4,2
x.var()                                                       | 3,4
x.var(False)                                                  | 3,4
x.var(0, False, True)                                         | 3,4
x.var(dim=1, correction=0)                                    | 3,4
torch.std(x)                                                  | 4 ; 2,3,4
torch.std(x, False)                                           | 3,4,2
torch.std(x, unbiased=False)                                  | 3,4,2
torch.std(x, unbiased=True)                                   | 3,4,2
torch.std(x, 0)                                               | 3,4,2
torch.std(x, 0, False)                                        | 3,4,2
torch.std(x, 0, True, True)                                   | 3,4,2
torch.std(x, dim=(0, 1), unbiased=False, keepdim=True)        | 3,4,2
torch.std(x, 1, correction=2)                                 | 3,4,2
torch.std(x, (2, 0), correction=0)                            | 3,4,2
torch.std(x, correction=0.5)                                  | 3,4,2
torch.std(x, axis=1, keepdims=True)                           | 3,4,2
x.std()                                                       | 3,4
x.std(False)                                                  | 3,4
x.std(0, False, True)                                         | 3,4
x.std(dim=1, correction=0)                                    | 3,4
torch.var_mean(x)                                             | 4 ; 2,3,4
torch.var_mean(x, False)                                      | 3,4,2
torch.var_mean(x, unbiased=False)                             | 3,4,2
torch.var_mean(x, unbiased=True)                              | 3,4,2
torch.var_mean(x, 0)                                          | 3,4,2
torch.var_mean(x, 0, False)                                   | 3,4,2
torch.var_mean(x, 0, True, True)                              | 3,4,2
torch.var_mean(x, dim=(0, 1), unbiased=False, keepdim=True)   | 3,4,2
torch.var_mean(x, 1, correction=2)                            | 3,4,2
torch.var_mean(x, (2, 0), correction=0)                       | 3,4,2
torch.var_mean(x, correction=0.5)                             | 3,4,2
torch.var_mean(x, axis=1, keepdims=True)                      | 3,4,2
torch.std_mean(x)                                             | 4 ; 2,3,4
torch.std_mean(x, False)                                      | 3,4,2
torch.std_mean(x, unbiased=False)                             | 3,4,2
torch.std_mean(x, unbiased=True)                              | 3,4,2
torch.std_mean(x, 0)                                          | 3,4,2
torch.std_mean(x, 0, False)                                   | 3,4,2
torch.std_mean(x, 0, True, True)                              | 3,4,2
torch.std_mean(x, dim=(0, 1), unbiased=False, keepdim=True)   | 3,4,2
torch.std_mean(x, 1, correction=2)                            | 3,4,2
torch.std_mean(x, (2, 0), correction=0)                       | 3,4,2
torch.std_mean(x, correction=0.5)                             | 3,4,2
torch.std_mean(x, axis=1, keepdims=True)                      | 3,4,2
torch.logsumexp(x, 0)                                         |  ; 4 ; 3,4 ; 2,0
torch.special.logsumexp(x, 0)                                 |  ; 4 ; 3,4 ; 2,0
torch.logsumexp(x, (0, -1), True)                             | 2,3 ; 2,3,4
x.logsumexp(dim=[1], keepdim=True)                            | 2,3
x.logsumexp(-1)                                               | 2,3 ; 2,3,4
x.logsumexp(axis=1, keepdims=True)                            | 2,3
torch.trace(x)                                                | 3,3 ; 2,4 ; 4,2 ; 0,3
x.trace()                                                     | 3,3
torch.cumsum(x, 0)                                            |  ; 1 ; 5 ; 3,4 ; 0,3
x.cumsum(dim=-1)                                              |  ; 2,3,4
torch.cumsum(x, axis=1)                                       | 2,3
torch.cumprod(x, 0)                                           |  ; 1 ; 5 ; 3,4 ; 0,3
x.cumprod(dim=-1)                                             |  ; 2,3,4
torch.cumprod(x, axis=1)                                      | 2,3
torch.logcumsumexp(x, 0)                                      |  ; 1 ; 5 ; 3,4 ; 0,3
x.logcumsumexp(dim=-1)                                        |  ; 2,3,4
torch.logcumsumexp(x, axis=1)                                 | 2,3
torch.cummax(x, 0)[0]                                         |  ; 1 ; 5 ; 3,4 ; 0,3
x.cummax(dim=-1)[0]                                           |  ; 2,3,4
torch.cummax(x, axis=1)[0]                                    | 2,3
torch.cummin(x, 0)[0]                                         |  ; 1 ; 5 ; 3,4 ; 0,3
x.cummin(dim=-1)[0]                                           |  ; 2,3,4
torch.cummin(x, axis=1)[0]                                    | 2,3
torch.prod(x)                                                 |  ; 4 ; 2,3 ; 0
torch.prod(x, 0)                                              |  ; 4 ; 2,3
x.prod(dim=-1, keepdim=True)                                  |  ; 2,3,4
x.prod(axis=0, keepdims=True)                                 | 2,3
torch.diff(x)                                                 | 2,5 & 2,3
torch.diff(x, n=2)                                            | 2,5 & 2,3
torch.diff(x, 0)                                              | 2,5 & 2,3
torch.diff(x, n=9, dim=0)                                     | 2,5 & 2,3
torch.diff(x, 3, 1)                                           | 2,5 & 2,3
torch.diff(x, n=2, axis=0)                                    | 2,5 & 2,3
torch.diff(x, 0, -1, y, y)                                    | 2,5 & 2,3
torch.diff(x, prepend=y)                                      | 2,5 & 2,3
torch.diff(x, append=y)                                       | 2,5 & 2,3
torch.diff(x, 2, -1, y, y)                                    | 2,5 & 2,3
x.diff()                                                      | 4 ; 2,3 ; 0
x.diff(n=2, dim=0)                                            | 4,2
torch.linalg.vector_norm(x, 2)                                | 4 ; 3,4
torch.linalg.vector_norm(x, 2, dim=-1, keepdim=True)          | 3,4
torch.linalg.norm(x, 2, dim=0)                                | 3,4
torch.norm(x, 2, (0, 1))                                      | 2,3,2
x.norm(2, 0)                                                  | 3,4
torch.dist(x, y, 2)                                           | 4 & 4 ; 3,1 & 4
torch.linalg.vector_norm(x, 1)                                | 4 ; 3,4
torch.linalg.vector_norm(x, 1, dim=-1, keepdim=True)          | 3,4
torch.linalg.norm(x, 1, dim=0)                                | 3,4
torch.norm(x, 1, (0, 1))                                      | 2,3,2
x.norm(1, 0)                                                  | 3,4
torch.dist(x, y, 1)                                           | 4 & 4 ; 3,1 & 4
torch.linalg.vector_norm(x, torch.inf)                        | 4 ; 3,4
torch.linalg.vector_norm(x, torch.inf, dim=-1, keepdim=True)  | 3,4
torch.linalg.norm(x, torch.inf, dim=0)                        | 3,4
torch.norm(x, torch.inf, (0, 1))                              | 2,3,2
x.norm(torch.inf, 0)                                          | 3,4
torch.dist(x, y, torch.inf)                                   | 4 & 4 ; 3,1 & 4
torch.linalg.vector_norm(x, -torch.inf)                       | 4 ; 3,4
torch.linalg.vector_norm(x, -torch.inf, dim=-1, keepdim=True) | 3,4
torch.linalg.norm(x, -torch.inf, dim=0)                       | 3,4
torch.norm(x, -torch.inf, (0, 1))                             | 2,3,2
x.norm(-torch.inf, 0)                                         | 3,4
torch.dist(x, y, -torch.inf)                                  | 4 & 4 ; 3,1 & 4
torch.linalg.vector_norm(x, 0)                                | 4 ; 3,4
torch.linalg.vector_norm(x, 0, dim=-1, keepdim=True)          | 3,4
torch.linalg.norm(x, 0, dim=0)                                | 3,4
torch.norm(x, 0, (0, 1))                                      | 2,3,2
x.norm(0, 0)                                                  | 3,4
torch.linalg.vector_norm(x, 3)                                | 4 ; 3,4
torch.linalg.vector_norm(x, 3, dim=-1, keepdim=True)          | 3,4
torch.linalg.norm(x, 3, dim=0)                                | 3,4
torch.norm(x, 3, (0, 1))                                      | 2,3,2
x.norm(3, 0)                                                  | 3,4
torch.dist(x, y, 3)                                           | 4 & 4 ; 3,1 & 4
torch.linalg.vector_norm(x, 2.5)                              | 4 ; 3,4
torch.linalg.vector_norm(x, 2.5, dim=-1, keepdim=True)        | 3,4
torch.linalg.norm(x, 2.5, dim=0)                              | 3,4
torch.norm(x, 2.5, (0, 1))                                    | 2,3,2
x.norm(2.5, 0)                                                | 3,4
torch.dist(x, y, 2.5)                                         | 4 & 4 ; 3,1 & 4
torch.linalg.vector_norm(x, 0.5)                              | 4 ; 3,4
torch.linalg.vector_norm(x, 0.5, dim=-1, keepdim=True)        | 3,4
torch.linalg.norm(x, 0.5, dim=0)                              | 3,4
torch.norm(x, 0.5, (0, 1))                                    | 2,3,2
x.norm(0.5, 0)                                                | 3,4
torch.dist(x, y, 0.5)                                         | 4 & 4 ; 3,1 & 4
torch.linalg.vector_norm(x, -1)                               | 4 ; 3,4
torch.linalg.vector_norm(x, -1, dim=-1, keepdim=True)         | 3,4
torch.linalg.norm(x, -1, dim=0)                               | 3,4
torch.norm(x, -1, (0, 1))                                     | 2,3,2
x.norm(-1, 0)                                                 | 3,4
torch.dist(x, y, -1)                                          | 4 & 4 ; 3,1 & 4
torch.linalg.vector_norm(x, -2.0)                             | 4 ; 3,4
torch.linalg.vector_norm(x, -2.0, dim=-1, keepdim=True)       | 3,4
torch.linalg.norm(x, -2.0, dim=0)                             | 3,4
torch.norm(x, -2.0, (0, 1))                                   | 2,3,2
x.norm(-2.0, 0)                                               | 3,4
torch.dist(x, y, -2.0)                                        | 4 & 4 ; 3,1 & 4
torch.norm(x)                                                 |  ; 4 ; 2,3 ; 0
torch.norm(x, dim=0)                                          | 2,3 ; 2,0
torch.norm(x, 'fro', dim=(0, 2))                              | 2,3,4
torch.norm(x, p=None)                                         | 2,3
x.norm()                                                      | 2,3
x.norm(p=2, dim=1, keepdim=True)                              | 2,3
torch.linalg.norm(x)                                          |  ; 4 ; 2,3,4
torch.linalg.norm(x, 3)                                       | 4
torch.linalg.norm(x, dim=(0, 1), keepdim=True)                | 2,3,4
torch.linalg.norm(x, 'fro')                                   | 2,3
torch.linalg.norm(x, 'fro', dim=(-2, -1))                     | 2,3,4
torch.linalg.norm(x, 2, dim=(1,))                             | 2,3
torch.linalg.norm(x, axis=1)                                  | 3,4
torch.linalg.matrix_norm(x)                                   | 2,3 ; 2,3,4
torch.linalg.matrix_norm(x, dim=(0, 2), keepdim=True)         | 2,3,4
torch.linalg.vector_norm(x)                                   |  ; 2,3
torch.linalg.vector_norm(x, dim=())                           | 2,3
torch.dist(x, y)                                              | 4 & 4 ; 2,3 & 3
x.dist(y, p=1)                                                | 2,3 & 2,3
functional.pairwise_distance(x, y)                            | 3,4 & 3,4 ; 3,4 & 4
functional.pairwise_distance(x, y, p=1, eps=0.1, keepdim=True) | 3,4 & 3,4
torch.pairwise_distance(x, y, torch.inf)                      | 3,4 & 3,4
functional.normalize(x)                                       | 3,4 ; 3,0
functional.normalize(x, 1, 0)                                 | 3,4
functional.normalize(x, p=torch.inf, dim=-1)                  | 3,4
functional.normalize(x, dim=(0, 1))                           | 3,4
functional.cosine_similarity(x, y)                            | 3,4 & 3,4 ; 2,3,4 & 3,1
functional.cosine_similarity(x, y, axis=0)                    | 3,4 & 3,4
functional.cosine_similarity(x, y, dim=0)                     | 3,4 & 3,4
torch.cosine_similarity(x, y, dim=-1)                         | 2,3,4 & 4
torch.renorm(x, 2, 0, 0.9)                                    | 3,4
torch.renorm(x, p=1, dim=-1, maxnorm=1.5)                     | 3,4 ; 2,3,4
x.renorm(3, 1, 0.5)                                           | 2,3,4
torch.softmax(x, 0)                                           |  ; 4 ; 3,4 ; 0,3
functional.softmax(x, 0)                                      |  ; 4 ; 3,4 ; 0,3
torch.special.softmax(x, 0)                                   |  ; 4 ; 3,4 ; 0,3
functional.softmax(x, dim=-1)                                 | 3,4 ; 2,3,4
x.softmax(-1)                                                 |  ; 2,3,4
torch.softmax(x, axis=1)                                      | 2,3
functional.softmax(x)                                         |  ; 4 ; 3,4 ; 2,3,4
torch.log_softmax(x, 0)                                       |  ; 4 ; 3,4 ; 0,3
functional.log_softmax(x, 0)                                  |  ; 4 ; 3,4 ; 0,3
torch.special.log_softmax(x, 0)                               |  ; 4 ; 3,4 ; 0,3
functional.log_softmax(x, dim=-1)                             | 3,4 ; 2,3,4
x.log_softmax(-1)                                             |  ; 2,3,4
torch.log_softmax(x, axis=1)                                  | 2,3
functional.log_softmax(x)                                     |  ; 4 ; 3,4 ; 2,3,4
functional.softmin(x, dim=1)                                  | 3,4
functional.softmin(x)                                         | 3,4 ; 2,3,4
torch.nn.Softmax(-1)(x)                                       | 3,4
torch.nn.LogSoftmax(0)(x)                                     | 3,4
torch.max(x)                                                  |  ; 4 ; 3,4 ; 2,3,4
x.max()                                                       | 2,3
torch.max(x, 0)[0]                                            |  ; 4 ; 3,4 ; 3,0
torch.max(x, dim=-1, keepdim=True).values                     |  ; 2,3,4
x.max(1, True).values                                         | 2,3
torch.max(x, axis=0)[0]                                       | 3,4
torch.max(x, y)                                               | 2,3 & 2,3 ; 3 & 2,1
torch.max(x, other=y)                                         | 2,3 & 2,3 ; 3 & 2,1
x.max(y)                                                      | 2,3 & 2,3 ; 3 & 2,1
torch.min(x)                                                  |  ; 4 ; 3,4 ; 2,3,4
x.min()                                                       | 2,3
torch.min(x, 0)[0]                                            |  ; 4 ; 3,4 ; 3,0
torch.min(x, dim=-1, keepdim=True).values                     |  ; 2,3,4
x.min(1, True).values                                         | 2,3
torch.min(x, axis=0)[0]                                       | 3,4
torch.min(x, y)                                               | 2,3 & 2,3 ; 3 & 2,1
torch.min(x, other=y)                                         | 2,3 & 2,3 ; 3 & 2,1
x.min(y)                                                      | 2,3 & 2,3 ; 3 & 2,1
torch.median(x)                                               |  ; 4 ; 3,4 ; 2,3,4
x.median()                                                    | 2,3
torch.median(x, 0)[0]                                         |  ; 4 ; 3,4 ; 3,0
torch.median(x, dim=-1, keepdim=True).values                  |  ; 2,3,4
x.median(1, True).values                                      | 2,3
torch.median(x, axis=0)[0]                                    | 3,4
torch.nanmedian(x)                                            |  ; 4 ; 3,4 ; 2,3,4
x.nanmedian()                                                 | 2,3
torch.nanmedian(x, 0)[0]                                      |  ; 4 ; 3,4 ; 3,0
torch.nanmedian(x, dim=-1, keepdim=True).values               |  ; 2,3,4
x.nanmedian(1, True).values                                   | 2,3
torch.nanmedian(x, axis=0)[0]                                 | 3,4
torch.aminmax(x)                                              |  ; 2,3
torch.aminmax(x, dim=0)                                       |  ; 3,4
torch.aminmax(x, axis=0)                                      | 3,4
x.aminmax(dim=-1, keepdim=True).max                           | 2,3,4
torch.sort(x)[0]                                              |  ; 4 ; 3,4 ; 3,0
torch.sort(x, 0, True)[0]                                     | 3,4
torch.sort(x, stable=True, dim=0).values                      | 3,4
x.sort(descending=True).values                                | 2,3,4
torch.sort(x, axis=0)[0]                                      | 3,4
torch.msort(x)                                                | 4 ; 3,4
x.msort()                                                     | 3,4
torch.topk(x, 2)[0]                                           | 4 ; 3,4
torch.topk(x, k=2, dim=0, largest=False).values               | 3,4
x.topk(3, 1, True, False)[0]                                  | 2,3,4
x.topk(0).values                                              | 3,4
torch.kthvalue(x, 2)[0]                                       | 4 ; 3,4
x.kthvalue(1, 0, True)[0]                                     |  ; 3,4
x.kthvalue(k=3, dim=-1).values                                | 2,3,4
torch.mode(x)[0]                                              |  ; 3,4
x.mode(0, True)[0]                                            | 3,4
"""


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@pytest.mark.parametrize(("expression", "sizes"), cases(ROWS))
def test_every_form(expression, sizes):
    values = [rand(*size, seed=seed) for seed, size in enumerate(sizes)]
    agree(bent(expression, "xyz"[: len(sizes)]), *values)


COMPLEX = """
x.sum(0)                               | 3,4
x.mean()                               | 3,4
x.var(0)                               | 3,4
x.std()                                | 3,4
x.prod(0)                              | 3,4
x.cumsum(1)                            | 3,4
x.cumprod(1)                           | 3,4
torch.linalg.vector_norm(x, dim=0)     | 3,4
torch.linalg.vector_norm(x, 1)         | 3,4
torch.linalg.vector_norm(x, 3, dim=0)  | 3,4
"""


@pytest.mark.parametrize(("expression", "sizes"), cases(COMPLEX))
def test_complex_numbers(expression, sizes):
    agree(bent(expression, "x"), torch.complex(rand(*sizes[0], low=0.5), rand(*sizes[0], seed=1)))


DTYPES = """
x.sum(dtype=torch.float64)                                        | 3,4
torch.nansum(x, 1, dtype=torch.float64)                           | 3,4
torch.mean(x, 0, dtype=torch.float64)                             | 3,4
x.nanmean(dtype=torch.float64)                                    | 3,4
torch.prod(x, dtype=torch.float64)                                | 3,4
torch.prod(x, 1, dtype=torch.float64)                             | 3,4
x.cumsum(0, dtype=torch.float64)                                  | 3,4
torch.cumprod(x, 0, dtype=torch.float64)                          | 3,4
torch.norm(x, dtype=torch.float64)                                | 3,4
torch.linalg.vector_norm(x, 1, dtype=torch.float64)               | 3,4
torch.softmax(x, 0, torch.float64)                                | 3,4
functional.log_softmax(x, 1, dtype=torch.float64)                 | 3,4
"""


@pytest.mark.parametrize(("expression", "sizes"), cases(DTYPES))
def test_another_dtype(expression, sizes):
    agree(bent(expression, "x"), rand(*sizes[0], low=0.5, dtype=torch.float32), rtol=1e-5, atol=1e-6)


ZEROS = """
torch.prod(x)        | 1 ; 4 ; 2,3
torch.prod(x, 0)     | 1 ; 4 ; 2,3
x.prod(-1, True)     | 3,4
x.cumprod(0)         | 1 ; 2 ; 3 ; 8 ; 13 ; 3,4
x.cumprod(-1)        | 3,4 ; 2,3,4
"""


@pytest.mark.parametrize("zeros", [1, 2, 99])
@pytest.mark.parametrize(("expression", "sizes"), cases(ZEROS))
def test_products_with_zeros(expression, sizes, zeros):
    x = rand(*sizes[0], low=0.5, high=2)
    x.reshape(-1)[1 if zeros < 3 else 0 :: 2][:zeros] = 0
    agree(bent(expression, "x"), x)


def test_products_with_zeros_of_scalars():
    zero = torch.zeros((), dtype=torch.float64)
    for function in torch.prod, lambda x: x.prod(0), lambda x: x.cumprod(0):
        agree(function, zero)


def test_third_order():
    for expression in "x.cumprod(1)", "x.softmax(1)", "x.log_softmax(0)", "x.logsumexp(0)", "x.std(1)", "x.norm(dim=0)":
        agree(bent(expression, "x"), rand(3, 4, low=0.5), order=3)
    # torch itself gives NaN for logcumsumexp here.
    ours = by_tensorad(lambda x: x.logcumsumexp(1), [rand(3, 5)], order=3)
    naive = by_torch(lambda x: x.exp().cumsum(1).log(), [rand(3, 5)], order=3)
    torch.testing.assert_close(ours, naive)


@pytest.mark.parametrize("p", [2.0, 1.0, 3.0, inf, 0.5])
def test_cdist(p):
    def function(x, y):
        return torch.cdist(x, y, p)

    def directly(x, y):
        return (x[..., :, None, :] - y[..., None, :, :]).norm(p, -1)

    for shape in [(3, 4), (2, 3, 4)]:
        values = [rand(*shape), rand(5, 4, seed=1)]
        agree(function, *values, order=1)  # torch has no second order
        torch.testing.assert_close(by_tensorad(function, values, order=2), by_torch(directly, values, order=2))
    agree(torch.cdist, rand(40, 4), rand(30, 4, seed=1), order=1, rtol=1e-6)  # torch takes another way from 26 rows on
    agree(torch.cdist, rand(3, 0), rand(2, 0), order=1)


def test_the_quantile_of_a_scalar():
    agree(lambda x: x.quantile(0.3, dim=0, keepdim=True) * x.nanquantile(0.5), rand())


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
@pytest.mark.parametrize("name", ["quantile", "nanquantile"])
def test_quantiles(name, interpolation):
    with_nan = rand(3, 5)
    with_nan[1, 2], with_nan[2] = nan, nan
    for x in rand(3, 5), with_nan:
        for arguments in (
            "0.4",
            "1.0, 0",
            "q, 1",
            "qs",
            "qs, 0, True",
            "qs, -1, True",
            "qs, None, True",
            "qs, axis=1, keepdims=True",
        ):
            expression = f"torch.{name}(x, {arguments}, interpolation='{interpolation}')"
            agree(bent(expression, "x", q=rand(low=0), qs=rand(4, low=0)), x)
    agree(bent(f"x.{name}(y, dim=1)", "xy"), rand(3, 5), rand(2, low=0.1, high=0.9))
    agree(bent(f"torch.{name}(x, 0.5)", "x"), rand())


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@pytest.mark.parametrize("name", ["mean", "nanmean", "var", "std"])
def test_of_nothing(name):
    agree(getattr(torch, name), rand(3, 0))


@pytest.mark.parametrize("name", "max min median nanmedian mode sort cummax cummin topk kthvalue".split())
def test_results_are_named_tuples_of_tensors(name):
    data = rand(3, 4)
    arguments = (2, 1) if name in ("topk", "kthvalue") else (1,)
    expected = getattr(torch, name)(data, *arguments)
    for found in getattr(torch, name)(ts.tensor(data), *arguments), getattr(ts.tensor(data), name)(*arguments):
        assert type(found) is type(expected)
        assert isinstance(found.values, ts.Tensor)
        assert isinstance(found.indices, ts.Tensor)
        assert torch.equal(found.values.data, expected.values)
        assert torch.equal(found.indices.data, expected.indices)


def test_aminmax_is_a_named_tuple():
    assert isinstance(torch.aminmax(ts.tensor(rand(2))), torch.return_types.aminmax)


def saved(function):
    """The tensors that recording `function` of a 3 x 4 tensor saves, besides the operand itself."""
    x = ts.tensor(rand(3, 4))
    with ts.Grad():
        y = function(x)
    return [each for each in y.node.saved if isinstance(each, torch.Tensor) and each is not x.data]


def test_no_more_is_saved_than_needed():
    for function in torch.sum, torch.mean, torch.trace, torch.diff, torch.var, lambda x: x.cumsum(0):
        assert saved(function) == []
    assert [each.dtype for each in saved(lambda x: x.sort().values)] == [torch.int64]
    assert [each.shape for each in saved(lambda x: x.max(0).values)] == [(4,)]
    for name in "softmax", "log_softmax":
        x = ts.tensor(rand(3, 4))
        with ts.Grad():
            y = getattr(x, name)(1)
        assert [each for each in y.node.saved if isinstance(each, torch.Tensor)] == [y.data]


def test_argsort_is_a_constant():
    with ts.Grad():
        assert ts.tensor(rand(4)).argsort().node is None


# Corners, ties and poles: the rows of CONVENTIONS.md.


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def gradient(function, *values):
    """The gradient by a vector of these values, as a list of numbers."""
    x = ts.tensor(vector(*values))
    with ts.Grad() as g:
        y = function(x)
    return g.gradient(y, x).tolist()


def second(function, *values):
    """The matrix of second derivatives of a scalar function of a vector of these values, as nested lists."""
    x = ts.tensor(vector(*values))
    with ts.Grad() as outer:
        with ts.Grad() as inner:
            y = function(x)
        slopes = list(inner.gradient(y, x))
    return [outer.gradient(slope, x, unconnected="zero").tolist() for slope in slopes]


def same(found, expected):
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-12, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize(
    "norm", [torch.norm, torch.linalg.norm, torch.linalg.vector_norm, lambda x: torch.norm(x, 3.0)]
)
def test_norm_of_the_zero_vector(norm):
    assert gradient(norm, 0.0, 0.0) == [0, 0]
    assert second(norm, 0.0, 0.0) == [[0, 0], [0, 0]]


def test_norm_squared_at_the_zero_vector():
    for square in (
        lambda x: x.norm() ** 2,
        lambda x: torch.linalg.vector_norm(x).square(),
        lambda x: torch.mul(*[torch.linalg.norm(x)] * 2),
        lambda x: (2 * x).norm() ** 2 / 4,
        lambda x: torch.dist(x, torch.zeros(2)) ** 2,
        lambda x: x.norm() ** 2 + x.norm() ** 4 - x.norm() ** 3,
    ):
        assert gradient(square, 0.0, 0.0) == [0, 0]
        assert second(square, 0.0, 0.0) == [[2, 0], [0, 2]]


def test_norm_squared_of_some_zero_rows():
    def function(x):
        return (x.reshape(2, 2).norm(dim=1) ** 2).sum()

    same(second(function, 0.0, 0.0, 3.0, 4.0), [[2.0 * (i == j) for i in range(4)] for j in range(4)])


def test_norm_to_the_fourth_power_at_the_zero_vector():
    assert second(lambda x: x.norm() ** 4, 0.0, 0.0) == [[0, 0], [0, 0]]


def test_norm_1_with_a_zero():
    assert gradient(lambda x: x.norm(1), 0.0, 1.0) == [0, 1]


def test_norm_inf_with_a_tie():
    assert gradient(lambda x: x.norm(inf), 1.0, -1.0, 0.0) == [0.5, -0.5, 0]
    assert gradient(lambda x: x.norm(inf), 0.0, 0.0) == [0, 0]


def test_norm_below_1_with_a_zero():
    assert gradient(lambda x: x.norm(0.5), 0.0, 1.0) == [0, 1]


def test_frobenius_norm_of_the_zero_matrix():
    assert gradient(lambda x: torch.linalg.norm(x.reshape(2, 2), "fro"), 0.0, 0.0, 0.0, 0.0) == [0] * 4


def test_max_of_all_with_a_tie():
    assert gradient(torch.max, 1.0, 1.0, 0.0) == [0.5, 0.5, 0]
    assert gradient(torch.min, 1.0, 0.0, 0.0) == [0, 0.5, 0.5]


def test_max_along_a_dimension_with_a_tie():
    assert gradient(lambda x: x.max(0).values, 1.0, 1.0, 0.0) == [1, 0, 0]


def test_amax_with_a_tie():
    assert gradient(torch.amax, 1.0, 1.0, 0.0) == [0.5, 0.5, 0]
    assert gradient(torch.amin, 1.0, 0.0, 0.0) == [0, 0.5, 0.5]
    assert gradient(lambda x: sum(torch.aminmax(x)), 2.0, 1.0, 1.0) == [1, 0.5, 0.5]


@pytest.mark.parametrize("name", ["max", "min", "amax", "amin", "median"])
def test_a_nan_takes_all(name):
    assert gradient(getattr(torch, name), 1.0, nan, 2.0, nan) == [0, 0.5, 0, 0.5]


def test_extremes_that_are_infinite():
    assert gradient(torch.max, inf, 1.0, inf) == [0.5, 0, 0.5]
    assert gradient(torch.max, -inf, -inf) == [0.5, 0.5]
    assert gradient(torch.amin, inf, inf) == [0.5, 0.5]


def test_median_of_4():
    assert gradient(torch.median, 3.0, 2.0, 9.0, 4.0) == [1, 0, 0, 0]
    assert gradient(lambda x: x.median(0).values, 3.0, 2.0, 9.0, 4.0) == [1, 0, 0, 0]


def test_median_with_a_tie():
    assert gradient(torch.median, 1.0, 2.0, 1.0, 0.0) == [0.5, 0, 0.5, 0]


def test_nanmedian_passes_over_nan():
    assert gradient(torch.nanmedian, 1.0, nan, 2.0, 1.0) == [0.5, 0, 0, 0.5]
    assert gradient(torch.nanmedian, nan, nan) == [0.5, 0.5]
    assert gradient(lambda x: x.nanmedian(0).values, 1.0, nan, 2.0) == [1, 0, 0]


def test_prod_with_one_zero():
    assert gradient(torch.prod, 0.0, 2.0, 3.0) == [6, 0, 0]
    assert second(torch.prod, 0.0, 2.0, 3.0) == [[0, 3, 2], [3, 0, 0], [2, 0, 0]]


def test_prod_with_two_zeros():
    assert gradient(torch.prod, 0.0, 0.0, 3.0) == [0, 0, 0]
    assert second(torch.prod, 0.0, 0.0, 3.0) == [[0, 3, 0], [3, 0, 0], [0, 0, 0]]


def test_cumprod_with_zeros():
    assert gradient(lambda x: x.cumprod(0), 1.0, 0.0, 0.0, 3.0) == [1, 1, 0, 0]
    assert second(lambda x: x.cumprod(0)[3], 0.0, 2.0, 0.0, 3.0) == [
        [0, 0, 6, 0],
        [0, 0, 0, 0],
        [6, 0, 0, 0],
        [0, 0, 0, 0],
    ]


def test_sort_with_a_tie_goes_by_index():
    def function(x):
        return (x.sort(stable=True).values * vector(1, 10, 100)).sum()

    assert gradient(function, 1.0, 1.0, 0.0) == [10, 100, 1]


def test_topk_with_a_tie_goes_by_index():
    assert sorted(gradient(lambda x: x.topk(1).values, 1.0, 1.0, 1.0)) == [0, 0, 1]
    agree(lambda x: x.topk(1).values, torch.ones(3, dtype=torch.float64))


def test_mode_of_equals_goes_by_index():
    assert gradient(lambda x: x.mode()[0], 1.0, 1.0, 0.0) == [0, 1, 0]


def test_cummax_with_a_tie_adds_up_by_index():
    assert gradient(lambda x: x.cummax(0).values, 1.0, 2.0, 0.0, 1.0) == [1, 3, 0, 0]
    agree(lambda x: x.cummax(0).values, vector(1, 1, 2, 2, 0))


def test_std_of_a_constant():
    for std in torch.std, lambda x: x.std(0, keepdim=True).sum(), lambda x: torch.std_mean(x)[0]:
        assert gradient(std, 2.0, 2.0, 2.0) == [0, 0, 0]
        assert second(std, 2.0, 2.0, 2.0) == [[0] * 3] * 3


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
def test_std_of_one_element():
    same(gradient(torch.std, 1.0), [nan])
    same(gradient(torch.var, 1.0), [nan])


def test_var_of_a_constant():
    assert gradient(torch.var, 2.0, 2.0) == [0, 0]


def test_nan_is_passed_over():
    assert gradient(torch.nansum, nan, 1.0) == [0, 1]
    assert gradient(torch.nanmean, nan, 1.0, 3.0) == [0, 0.5, 0.5]


def test_softmax_with_minus_infinity():
    assert gradient(lambda x: x.softmax(0), 0.0, -inf) == [0, 0]


def test_softmax_of_minus_infinities():
    same(gradient(lambda x: x.softmax(0), -inf, -inf), [nan, nan])


def test_log_softmax_with_minus_infinity():
    assert gradient(lambda x: x.log_softmax(0)[0], 0.0, -inf) == [0, 0]


def test_logsumexp_with_minus_infinity():
    assert gradient(lambda x: x.logsumexp(0), 0.0, -inf) == [1, 0]


def test_logsumexp_of_minus_infinities():
    same(gradient(lambda x: x.logsumexp(0), -inf, -inf), [nan, nan])


def test_logcumsumexp_is_stable():
    agree(lambda x: x.logcumsumexp(0), vector(-1000, 0, 1000, 5, -3), order=1)
    same(gradient(lambda x: x.logcumsumexp(0), -inf, 0.0, 1.0)[1:], [1 + 1 / (1 + math.e), 1 / (1 + 1 / math.e)])


def test_normalize_the_zero_vector():
    assert gradient(lambda x: functional.normalize(x, dim=0), 0.0, 0.0) == [1e12, 1e12]


def test_cosine_similarity_with_the_zero_vector():
    same(gradient(lambda x: functional.cosine_similarity(x, vector(3, 4), dim=0), 0.0, 0.0), [0.6e8, 0.8e8])


def test_what_is_selected_adds_up_to_the_cotangent():
    x = vector(1, 1, 0, 2, 2, 0)
    for function in [
        torch.max, torch.min, torch.amax, torch.amin, torch.median, lambda x: x.sort()[0], lambda x: x.topk(3)[0],
        lambda x: x.kthvalue(2)[0], lambda x: x.mode()[0], lambda x: x.cummin(0)[0], lambda x: x.quantile(0.3),
    ]:  # fmt: skip
        assert math.isclose(sum(gradient(function, *x)), function(x).numel())
