#!/bin/sh
# A whole workflow in one script: a step begins at each `# %%` line. What stands before the first one is given to every
# step. Run by itself (`sh words.sh`) it does the same, without markers.
set -eu
text=${TEXT:-poem.txt}
mkdir -p out

# %% words
#| outputs: [out/words.txt]
tr '[:upper:]' '[:lower:]' <"$text" | tr -cs '[:alpha:]' '\n' | sed '/^$/d' >out/words.txt
echo "$(($(wc -l <out/words.txt))) words"

# %% frequencies
#| outputs: [out/frequencies.txt]
#| timeout: 1m
LC_ALL=C sort out/words.txt | uniq -c | LC_ALL=C sort -k1,1nr -k2,2 >out/frequencies.txt

# %% longest
#| outputs: [out/longest.txt]
awk '{ print length($0), $0 }' out/words.txt | LC_ALL=C sort -u -k1,1nr -k2,2 | head -n 5 >out/longest.txt

# %% report
#| outputs: [out/report.txt]
{
    echo "most frequent:"
    head -n 5 out/frequencies.txt
    echo "longest:"
    cat out/longest.txt
} >out/report.txt
cat out/report.txt
