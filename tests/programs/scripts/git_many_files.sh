# needs: git awk
# A repository of many files: cloned, checked, and asked for its state. PROGRAMS_HEAVY=1 makes it 20,000.
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z' GIT_CONFIG_GLOBAL=/dev/null
files=${PROGRAMS_HEAVY:+20000}; files=${files:-2000}
git init -q -b main r; cd r
awk -v n="$files" 'BEGIN { for (i = 0; i < n; i++) { d = "d" int(i / 100); if (i % 100 == 0) system("mkdir " d); f = d "/f" i; print "file", i > f; for (j = 0; j < i % 50; j++) print "line", j * i > f; close(f) } }'
git add . && git commit -qm all && git rev-parse HEAD && git status --short | wc -l
cd ..; git clone -q r c 2>&1; git -C c fsck --full 2>&1 | grep -v '^Checking'; git -C c rev-parse HEAD; git -C c ls-files | wc -l
cd c; echo changed >> d3/f301; rm d4/f402; echo new > d5/new; git status --short; git -c gc.auto=0 stash -q -u; git status --short | wc -l; git stash pop -q; git diff --stat | tail -1
git repack -adq 2>&1; git fsck 2>&1 | grep -v '^Checking'; git worktree add -q ../w HEAD~0 2>&1; git -C ../w status --short | wc -l; cd ..; diff -r r/d1 w/d1 && echo same; rm -rf r c w
