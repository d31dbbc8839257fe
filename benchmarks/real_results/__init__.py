"""What fine-tuning reaches on real benchmarks with a model that 2 CPU cores pre-train.

    M5JAX_DATA=/path/to/data python -m benchmarks.real_results
    M5JAX_DATA=/path/to/data python -m benchmarks.real_results --part=duplicates
    python -m benchmarks.real_results.page

Every part goes through the commands of m5jax, in a folder (--work) where what is done stays done, so that it can be
stopped and goes on where it was; benchmarks/results/real_results.json is written after each figure. Parts:

pretrain     a vocabulary, masked-LM pre-training on text and on products that are in no test pair, then matching of
             pairs made of these products without labels
duplicates   product matching, joint: from the pre-trained model, three seeds, and from scratch
labels       the same for one benchmark with 10, 100, 1,000 and all labels, and from masked-LM pre-training alone
search       Home Depot: two towers, hashed n-grams, BM25
understanding   intents and slots: SNIPS, HWU64, xSID (trained on English, tested on the other languages)
attributes   attribute values as slots: OA-Mine, AE-110k
comparison   what the last step of `pretrain` reaches where texts are not compared token by token; only where named

Settings were chosen on validation data. Runs of a part are made side by side, one a core: models this small keep no two
cores busy. "core_seconds" are the time that a run, with its evaluations, had a core for: other work on the machine
hardly changes it, and on two idle cores all takes half of the sum.
"""
