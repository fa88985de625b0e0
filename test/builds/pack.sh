#!/bin/sh
# Packs the build of a checkout for the test that has a run begun by an earlier build: pack.sh [CHECKOUT]
#
# It writes adit-COMMIT.tar.gz beside this file, with what starts, runs and shows a run, without source maps; the
# packages are those of the working tree. One checkout gives the same bytes each time, so that anybody can tell what is
# in a pack. The checkout must lie as it is in git, and have packages of its own in node_modules.
set -eu
target=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$target/../..}"
if [ -n "$(git status --porcelain)" ]; then
  echo "This checkout has changes that are in no commit: nothing was packed." >&2
  exit 1
fi
npm run build
pack=$(mktemp -d)
mkdir "$pack/cli" "$pack/dist"
cp package.json "$pack/"
cp cli/adit.js "$pack/cli/"
for part in activities chunks cli core host worker workflow-bundle.js; do
  cp -R "dist/$part" "$pack/dist/"
done
find "$pack" -name '*.map' -exec rm {} +
# A worker takes no workflow code without a source map: an empty one.
empty=$(printf '{"version":3,"sources":[],"names":[],"mappings":""}' | base64 -w0)
bundle="$pack/dist/workflow-bundle.js"
sed -i "s|^\(//# sourceMappingURL=.*base64,\).*|\1$empty|" "$bundle"
find "$pack" -name '*.js' ! -path "$bundle" -exec sed -i '/^\/\/# sourceMappingURL=/d' {} +
file="$target/adit-$(git rev-parse --short=7 HEAD).tar.gz"
tar -C "$pack" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -cf - package.json cli dist |
  gzip -9n > "$file"
rm -r "$pack"
ls -l "$file"
