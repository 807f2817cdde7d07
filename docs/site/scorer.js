// Weights of the search: sections whose title has the words come before names of the API. Sphinx reads this file.
var Scorer = {
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: {0: 5, 1: 0, 2: -5},
  objPrioDefault: 0,
  title: 40,
  partialTitle: 12,
  term: 5,
  partialTerm: 2,
};
