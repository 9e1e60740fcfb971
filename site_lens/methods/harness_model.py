"""Model of EleutherAI's lm-evaluation-harness that answers under a SITE fit, from cached prefixes."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from site_lens.activations.continuations import score_continuations
from site_lens.activations.generation import generate
from site_lens.activations.injection import injection_edits
from site_lens.models.base import LensModel
from site_lens.models.hooks import Edit
from site_lens.records.errors import InputError
from site_lens.records.library_errors import translated_errors
from site_lens.records.progress import progress_bar
from site_lens.records.type_checks import checked
from site_lens.site.fit import Pair, SiteFit, gates_and_embedding
from site_lens.tasks.harness_tasks import require_harness

if TYPE_CHECKING or find_spec("lm_eval") is not None:
    from lm_eval.api.model import TemplateLM
else:
    TemplateLM = object  # the name exists without the harness; `SiteLM(...)` says what to install

Asked = tuple[tuple[str, str] | None, list[int], list[int]]
"""A context and what continues it, as texts (None for a part of a text) and as tokens."""

MAX_GEN_TOKENS = 256
"""Tokens to generate where a task does not say, as in the harness' own models."""


class SiteLM(TemplateLM):  # type: ignore[misc]  # the harness ships no types
    r"""Model for `lm_eval.simple_evaluate`: a LensModel, plain or under a SITE fit.

    The embedding is mixed in at the last token of the context, and nowhere else. Continuations are scored behind it as
    a tail, whose keys and values see the edited token; generated tokens are not edited. What the last token is, the
    harness says: it moves spaces at the end of a context to the continuation, except in `generate_until`; an empty
    context is BOS, or EOS where there is none, which then is the token that is edited. `loglikelihood_rolling` scores
    windows, each of which has a context, one token or more, whose last token is edited.

    Inputs longer than the context of the model are refused before anything is computed; the harness' own models cut
    them on the left. Generation is greedy.

    Reference: arXiv 2507.20906, eq. 4; the harness: EleutherAI/lm-evaluation-harness, `lm_eval.api.model`.

    Args:
        model: The model.
        fit: A fit, or gates and the embedding that they mix in; the plain model when None.

    Raises:
        InputError: The harness is not installed, or fit is neither.
        MismatchError: The fit belongs to another model.

    Example:
        >>> import site_lens as sl
        >>> lm = sl.SiteLM(sl.load_model("demo"))  # lm_eval.simple_evaluate(lm, tasks=[...])
        >>> lm.max_length
        2048
    """

    @checked
    def __init__(self, model: LensModel, fit: SiteFit | Pair | None = None) -> None:
        require_harness()
        super().__init__()
        self.model = model
        self.tokenizer = model.encoder.tokenizer
        self._device = model.device
        self._pair = None if fit is None else gates_and_embedding(fit)
        self._fit = fit if isinstance(fit, SiteFit) else None
        self.notes: tuple[str, ...] = ()
        """What makes scores under the fit hard to believe, such as other weights."""
        if self._pair is not None:
            gates, embedding = self._pair
            injection_edits(model, gates, embedding)  # refuses what does not fit
            self.notes = model.identity.check_use(embedding.model, f"the fit of {embedding.task!r}")

    @property
    def eot_token_id(self) -> int | None:
        """Token that ends a text."""
        return self.model.encoder.eos

    @property
    def prefix_token_id(self) -> int:
        """Token that stands in the place of an empty context: BOS, or EOS where there is none."""
        for token in (self.tokenizer.bos_token_id, self.model.encoder.eos):
            if token is not None:
                return int(token)
        raise InputError(f"{self.model.identity.name} has neither a BOS nor an EOS token to stand for an empty context")

    @property
    def max_length(self) -> int:
        """Tokens that an input may have."""
        return self.model.encoder.n_ctx

    @property
    def max_gen_toks(self) -> int:
        """Tokens to generate where a task does not say."""
        return MAX_GEN_TOKENS

    @property
    def tokenizer_name(self) -> str:
        """Name of the tokenizer, for the harness' caches of requests."""
        return f"{self.model.identity.name}-{self.model.encoder.digest[:12]}"

    def get_model_info(self) -> dict[str, Any]:
        """Return what the harness writes beside its results: the model, and the fit under which it answered."""
        fit, embedding = self._fit, None if self._pair is None else self._pair[1]
        return {
            "site_lens_model": self.model.identity.name,
            "site_lens_fit": None if embedding is None else embedding.task,
            "site_lens_seed": None if fit is None else fit.seed,
            "site_lens_notes": list(self.notes),
        }

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Tokenise a text, with BOS as the model's encoder has it, or without if `add_special_tokens=False`."""
        (row,) = self.model.encoder.ids([string])
        n_own = len(self.tokenizer(string, add_special_tokens=False).input_ids)
        return row[len(row) - n_own :] if add_special_tokens is False else row

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Write a chat as the tokenizer's template has it.

        Raises:
            InputError: The tokenizer has no chat template, or it refuses the chat.
        """
        with translated_errors(lambda reason: InputError(f"the tokenizer cannot write this chat: {reason}")):
            text: str = self.tokenizer.apply_chat_template(
                chat_history,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        return text

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Score continuations of contexts.

        Args:
            requests: Instances of the harness, whose `args` are (context, continuation).
            disable_tqdm: Whether the harness shows no bar while it tokenises.

        Returns:
            Of each request the log-probability of the continuation, in nats, and whether it is what greedy decoding
            gives.

        Raises:
            InputError: A continuation has no token, a request is no text, or exceeds the context.
            ModelError: The logits are not finite.
        """
        for _, continuation in _texts(requests, 2):
            if not continuation:
                raise InputError(
                    "a continuation is empty; there is nothing to score (see doc_to_target, doc_to_choice)"
                )
        scores: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=disable_tqdm)
        return scores

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[float]:
        """Score whole texts, each in windows as long as the context; the first begins with the prefix token.

        Every token is scored once. A BOS that the model's encoder would put in front is not scored.

        Args:
            requests: Instances of the harness, whose `args` are (text,).
            disable_tqdm: As in `loglikelihood`.

        Returns:
            The log-probability of each text, in nats.
        """
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        windows: list[Asked] = []
        text_of: list[int] = []
        for i, (text,) in enumerate(_texts(requests, 1)):
            rolling = get_rolling_token_windows(
                token_list=self.tok_encode(text, add_special_tokens=False),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            new = [(None, *make_disjoint_window(window)) for window in rolling]
            windows += new
            text_of += [i] * len(new)
        totals = [0.0] * len(requests)
        for i, (log_prob, _) in zip(text_of, self._loglikelihood_tokens(windows), strict=True):
            totals[i] += log_prob
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        """Continue contexts greedily, up to a stop sequence or EOS, without it.

        Args:
            requests: Instances of the harness, whose `args` are (context, generation arguments).
            disable_tqdm: As in `loglikelihood`.

        Returns:
            The new text of each request.

        Raises:
            InputError: Sampling or beams are asked for, or a context and room for the answer exceed the model's.
        """
        from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text

        groups: dict[tuple[tuple[str, ...], int], list[int]] = {}
        contexts = []
        for i, (context, given) in enumerate(_texts(requests, 2)):
            settings = normalize_gen_kwargs(given, self.max_gen_toks)
            if settings.get("do_sample") or settings.get("num_beams", 1) != 1:
                raise InputError("SiteLM generates greedily; set do_sample: false and num_beams: 1 (generation_kwargs)")
            until = settings.get("until") or []
            stops = tuple(stop for stop in ([until] if isinstance(until, str) else until) if stop)
            groups.setdefault((stops, settings["max_gen_toks"]), []).append(i)
            contexts.append(context)
        texts = [""] * len(requests)
        for (stops, n_tokens), members in groups.items():
            asked = [contexts[i] for i in members]
            made = generate(self.model, asked, self._edits(-1), max_new_tokens=n_tokens, stop_at=stops)
            for i, text in zip(members, made, strict=True):
                texts[i] = postprocess_generated_text(text, list(stops), None)
                self.cache_hook.add_partial("generate_until", requests[i].args, texts[i])
        return texts

    def _edits(self, column: int) -> list[Edit]:
        return [] if self._pair is None else injection_edits(self.model, *self._pair, column=column)

    def _loglikelihood_tokens(
        self, requests: Sequence[Asked], disable_tqdm: bool = True, **kwargs: Any
    ) -> list[tuple[float, bool]]:
        """Score continuations in tokens; what `TemplateLM.loglikelihood` makes of texts comes here."""
        for texts, _, continuation in requests:
            if not continuation:
                raise InputError(f"{texts!r:.80}: the continuation adds no token to its context under this tokenizer")
        contexts, continuations = [context for _, context, _ in requests], [tokens for _, _, tokens in requests]
        with progress_bar(len(requests), "scoring", unit="continuation", progress=None) as bar:
            scores = score_continuations(self.model, contexts, continuations, self._edits(0), scored=bar.update)
        for (texts, _, _), score in zip(requests, scores, strict=True):
            if texts is not None:
                self.cache_hook.add_partial("loglikelihood", texts, score)
        return scores


def _texts(requests: Sequence[Any], n_args: int) -> list[tuple[Any, ...]]:
    """Return the arguments of requests; raises InputError where there are more than texts alone."""
    if any(len(request.args) != n_args for request in requests):
        raise InputError("a request shows an image or a sound; SiteLM reads text alone")
    return [tuple(request.args) for request in requests]
