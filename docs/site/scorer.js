// Weights of the search: guides come before examples, the configuration, names of the API and measurements. Sphinx
// reads this file, adds up the weights of a match, and calls `score` for each page found.
var Scorer = {
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: {0: 5, 1: 0, 2: -5},
  objPrioDefault: 0,
  title: 40,
  partialTitle: 12,
  term: 5,
  partialTerm: 2,
  // Of guides that have all words in their text, these come first.
  first: ["matrix", "python", "completion", "operator", "factorize", "sweeps"],
  // The start has a word of everything, the others none on how to use it.
  last: ["index", "benchmarks", "reproduction", "architecture", "contributing", "changes"],
  score: ([page, title, anchor, description, score, file, kind]) => {
    const word = new URLSearchParams(location.search).get("q") || "";
    if (kind === "object" || kind === "index") {
      // Who types a name of the API wants it: truncated_svd, LowRankLinear, and part of one: eckart.fit.
      if (kind === "object" && title.toLowerCase().split(".").at(-1) === word.toLowerCase()) return score + 60;
      return /^\S*([_.]|[a-z][A-Z])\S*$/.test(word) && score >= 16 ? score + 40 : score;
    }
    if (page.startsWith("api/")) return score / 4;
    if (page.startsWith("configuration/")) return word.includes("=") || word.includes(".") ? score + 40 : score / 2;
    if (page.startsWith("gallery/")) return score + 10;
    if (Scorer.last.includes(page)) return score / 2;
    const words = word.toLowerCase().split(/\s+/).filter((part) => part.length > 2);
    if (words.every((part) => title.toLowerCase().includes(part))) return score + 60;
    return score + 20 + (score < Scorer.title && Scorer.first.includes(page) ? 10 - Scorer.first.indexOf(page) : 0);
  },
};
