# needs: git
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z' GIT_CONFIG_GLOBAL=/dev/null
git init -q -b main r; cd r; for i in $(seq 50); do echo "content $i" > file$i; done; git add .; git commit -qm first; git log --format='%H %s'
git checkout -q -b side; echo side >> file1; git commit -qam side; git checkout -q main; echo main >> file2; git commit -qam main; git merge -q -m merge side; git log --oneline --graph | cat
git mv file3 moved; git rm -q file4; git status --short; git commit -qm changes; git diff --stat HEAD~1 | tail -1; git tag v1; git gc -q; git fsck 2>&1; git count-objects -v | grep -E 'in-pack|^count'
cd ..; git clone -q r c; cd c; git log -1 --format=%H; git stash list; echo x >> file5; git stash -q; git stash pop -q; git diff | grep '^+x'; git blame -s file1 | cut -c 10-; git archive HEAD | tar t | wc -l; cd ..; git clone -q --bare r bare; git -C bare rev-parse HEAD; rm -rf r c bare
