// The cache of open directories: how many stay open, and that a directory which is opened again is the same one.

#include <memory>
#include <thread>
#include <vector>

#include "check.h"
#include "directory_node.h"
#include "files.h"

using namespace eacopy;
using namespace eacopy::test;
using platform::Directory;

namespace {

using NodePointer = std::shared_ptr<DirectoryNode>;

const int descriptors_at_start = OpenDescriptors();

// Two trees side by side, and a cache that knows their root. What is open in the cache is what is open at all.
class Trees {
 public:
  explicit Trees(size_t limit) : folder_(FastPlace()), cache(limit) {
    MakeFolder(source());
    MakeFolder(destination());
    before_ = OpenDescriptors();
    root = std::make_shared<DirectoryNode>(nullptr, "", true, 0);
    Directory source_root, destination_root;
    Must(platform::OpenDirectory(Directory::Paths(), source().c_str(), true, &source_root).ok(), "open the source");
    Must(platform::OpenDirectory(Directory::Paths(), destination().c_str(), true, &destination_root).ok(),
         "open the destination");
    Must(platform::GetInfo(source_root, &root->source_info).ok(), "look at the source");
    cache.Adopt(*root, std::move(source_root), std::move(destination_root));
  }
  ~Trees() {
    cache.Unpin(*root);
    cache.Retire(*root);
    CHECK_EQUAL(OpenNodes(), 0);
  }
  Trees(const Trees&) = delete;
  Trees& operator=(const Trees&) = delete;

  std::string source() const { return folder_ / "source"; }
  std::string destination() const { return folder_ / "destination"; }
  std::string outside() const { return folder_ / "outside"; }

  // Makes a directory in both trees, and gives it to the cache, pinned.
  NodePointer Make(const NodePointer& parent, const std::string& name) {
    CHECK(cache.Pin(*parent).ok());
    CHECK(::mkdirat(parent->source.get(), name.c_str(), 0777) == 0);
    CHECK(platform::MakeDirectory(parent->destination, name.c_str()).ok());
    NodePointer node = Open(parent, name);
    cache.Unpin(*parent);
    return node;
  }

  NodePointer Open(const NodePointer& parent, const std::string& name, bool via_link = false) {
    auto node = std::make_shared<DirectoryNode>(parent, name, via_link, 0);
    Directory source, destination;
    CHECK(platform::OpenDirectory(parent->source, name.c_str(), via_link, &source).ok());
    CHECK(platform::OpenDirectory(parent->destination, name.c_str(), false, &destination).ok());
    CHECK(platform::GetInfo(source, &node->source_info).ok());
    cache.Adopt(*node, std::move(source), std::move(destination));
    return node;
  }

  int OpenNodes() const { return (OpenDescriptors() - before_) / 2; }

 private:
  Folder folder_;
  int before_ = 0;

 public:
  DirectoryCache cache;
  NodePointer root;
};

// Whether the directories of a pinned node are those with the names that were given to it.
bool IsRight(const DirectoryNode& node, const std::string& source, const std::string& destination) {
  platform::FileInfo info;
  const struct stat a = StatusOf(source), b = StatusOf(destination);
  if (!platform::GetInfo(node.source, &info).ok() || info.id.inode != a.st_ino) return false;
  return platform::GetInfo(node.destination, &info).ok() && info.id.inode == b.st_ino;
}

}  // namespace

TEST(NoMoreDirectoriesStayOpenThanAllowed) {
  Trees trees(5);
  std::vector<NodePointer> nodes;
  for (int i = 0; i < 50; ++i) {
    nodes.push_back(trees.Make(trees.root, std::to_string(i)));
    trees.cache.Unpin(*nodes.back());
    CHECK(trees.OpenNodes() <= 5);
  }
  for (int i = 0; i < 50; ++i) {
    CHECK(trees.cache.Pin(*nodes[static_cast<size_t>(i)]).ok());
    CHECK(IsRight(*nodes[static_cast<size_t>(i)], trees.source() + "/" + std::to_string(i),
                  trees.destination() + "/" + std::to_string(i)));
    trees.cache.Unpin(*nodes[static_cast<size_t>(i)]);
    CHECK(trees.OpenNodes() <= 6);
  }
  trees.cache.CloseUnused();
  CHECK_EQUAL(trees.OpenNodes(), 1);  // the root is pinned
  for (const NodePointer& node : nodes) trees.cache.Retire(*node);
  CHECK_EQUAL(trees.OpenNodes(), 1);
}

TEST(PinnedDirectoriesStayOpenBeyondTheLimit) {
  Trees trees(3);
  std::vector<NodePointer> nodes;
  for (int i = 0; i < 10; ++i) nodes.push_back(trees.Make(trees.root, std::to_string(i)));
  CHECK_EQUAL(trees.OpenNodes(), 11);
  trees.cache.CloseUnused();
  CHECK_EQUAL(trees.OpenNodes(), 11);
  CHECK(trees.cache.Pin(*nodes[0]).ok());
  trees.cache.Unpin(*nodes[0]);
  trees.cache.CloseUnused();
  CHECK_EQUAL(trees.OpenNodes(), 11);  // still pinned once
  for (const NodePointer& node : nodes) trees.cache.Unpin(*node);
  trees.cache.CloseUnused();
  CHECK_EQUAL(trees.OpenNodes(), 1);
  for (const NodePointer& node : nodes) trees.cache.Retire(*node);
}

TEST(LeastRecentlyUsedIsClosedFirst) {
  Trees trees(3);
  const NodePointer a = trees.Make(trees.root, "a");
  trees.cache.Unpin(*a);
  const NodePointer b = trees.Make(trees.root, "b");
  trees.cache.Unpin(*b);
  CHECK(trees.cache.Pin(*a).ok());
  trees.cache.Unpin(*a);
  const NodePointer c = trees.Make(trees.root, "c");
  trees.cache.Unpin(*c);
  CHECK(a->source.valid());
  CHECK(!b->source.valid());
  CHECK(c->source.valid());
  for (const NodePointer& node : {a, b, c}) trees.cache.Retire(*node);
}

TEST(DeepDirectoryIsFoundAgainFromTheRoot) {
  Trees trees(4);
  std::vector<NodePointer> nodes = {trees.root};
  for (int level = 0; level < 500; ++level) {
    nodes.push_back(trees.Make(nodes.back(), "d"));
    trees.cache.Unpin(*nodes.back());
    CHECK(trees.OpenNodes() <= 5);
  }
  trees.cache.CloseUnused();
  CHECK(trees.cache.Pin(*nodes.back()).ok());
  CHECK(trees.OpenNodes() <= 5);
  trees.cache.Unpin(*nodes.back());
  // On the way up each parent is opened from its child, and then the child is closed.
  for (size_t i = nodes.size() - 1; i > 0; --i) {
    trees.cache.Retire(*nodes[i]);
    CHECK(nodes[i - 1]->source.valid());
    CHECK(trees.OpenNodes() <= 5);
  }
}

TEST(DirectoryThatWasReplacedIsNotOpenedAgain) {
  Trees trees(8);
  const NodePointer node = trees.Make(trees.root, "node");
  const NodePointer child = trees.Make(node, "child");
  const std::string trees_of[] = {trees.source(), trees.destination()};
  for (const std::string& tree : trees_of) {
    for (const char* name : {"/node", "/node/child"}) {
      CHECK(trees.cache.Pin(*child).ok());
      trees.cache.Unpin(*child);
      while (child->pins > 0) trees.cache.Unpin(*child);
      while (node->pins > 0) trees.cache.Unpin(*node);
      trees.cache.CloseUnused();
      CHECK_EQUAL(trees.OpenNodes(), 1);
      const std::string place = tree + name, aside = tree + " aside";
      Must(::rename(place.c_str(), aside.c_str()) == 0, "move a directory away");

      // Gone.
      CHECK_EQUAL(trees.cache.Pin(*child).error_number(), ENOENT);
      // Another one. With a child, so that all names are there.
      MakeFolder(place);
      if (std::string(name) == "/node") MakeFolder(place + "/child");
      CHECK_EQUAL(trees.cache.Pin(*child).error_number(), ENOENT);
      RemoveTree(place);
      // A link to the very directory: its identity would be right, but the way there is not what it was.
      MakeLink(aside, place);
      CHECK(!trees.cache.Pin(*child).ok());
      ::unlink(place.c_str());
      // A file.
      Write(place, "data");
      CHECK(!trees.cache.Pin(*child).ok());
      ::unlink(place.c_str());
      CHECK_EQUAL(child->pins, 0u);

      // The right one again.
      Must(::rename(aside.c_str(), place.c_str()) == 0, "move a directory back");
      CHECK(trees.cache.Pin(*child).ok());
      CHECK(IsRight(*child, trees.source() + "/node/child", trees.destination() + "/node/child"));
      trees.cache.Unpin(*child);
    }
  }
  trees.cache.Retire(*child);
  trees.cache.Retire(*node);
}

TEST(ParentThatWasReplacedIsNotOpenedFromItsChild) {
  // The child was moved into another directory meanwhile, so ".." leads elsewhere.
  Trees trees(8);
  const NodePointer node = trees.Make(trees.root, "node");
  const NodePointer child = trees.Make(node, "child");
  trees.cache.Unpin(*node);
  trees.cache.CloseUnused();
  CHECK(!node->source.valid());
  MakeFolder(trees.outside());
  Must(::rename((trees.source() + "/node/child").c_str(), (trees.outside() + "/child").c_str()) == 0, "move");
  trees.cache.Unpin(*child);
  trees.cache.Retire(*child);
  CHECK(!node->source.valid());
  // From the root it is found.
  CHECK(trees.cache.Pin(*node).ok());
  CHECK(IsRight(*node, trees.source() + "/node", trees.destination() + "/node"));
  trees.cache.Unpin(*node);
  trees.cache.Retire(*node);
}

TEST(DirectoryBehindALinkIsFoundAgain) {
  Trees trees(8);
  MakeFolder(trees.outside());
  MakeFolder(trees.outside() + "/below");
  MakeLink(trees.outside(), trees.source() + "/link");
  MakeFolder(trees.destination() + "/link");
  MakeFolder(trees.destination() + "/link/below");
  const NodePointer link = trees.Open(trees.root, "link", true);
  const NodePointer below = trees.Open(link, "below");
  trees.cache.Unpin(*below);
  trees.cache.Unpin(*link);
  trees.cache.CloseUnused();
  CHECK_EQUAL(trees.OpenNodes(), 1);
  CHECK(trees.cache.Pin(*below).ok());
  CHECK(IsRight(*below, trees.outside() + "/below", trees.destination() + "/link/below"));
  trees.cache.Unpin(*below);
  trees.cache.CloseUnused();

  // The link leads to another directory now.
  MakeFolder(trees.outside() + " too");
  MakeFolder(trees.outside() + " too/below");
  ::unlink((trees.source() + "/link").c_str());
  MakeLink(trees.outside() + " too", trees.source() + "/link");
  CHECK_EQUAL(trees.cache.Pin(*below).error_number(), ENOENT);
  CHECK_EQUAL(trees.OpenNodes(), 1);
  trees.cache.Retire(*below);
  trees.cache.Retire(*link);
}

TEST(ManyThreadsShareTheCache) {
  Trees trees(4);
  std::vector<NodePointer> nodes = {trees.root};
  for (int i = 0; i < 8; ++i) {
    nodes.push_back(trees.Make(trees.root, std::to_string(i)));
    trees.cache.Unpin(*nodes.back());
    nodes.push_back(trees.Make(nodes.back(), "below"));
    trees.cache.Unpin(*nodes.back());
  }
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < 300; ++i) {
        DirectoryNode& node = *nodes[(i * (t + 3)) % nodes.size()];
        platform::FileInfo info;
        if (!trees.cache.Pin(node).ok()) {
          ++wrong;
          continue;
        }
        if (!platform::GetInfo(node.source, &info).ok() || !(info.id == node.source_info.id)) ++wrong;
        trees.cache.Unpin(node);
        if (i % 50 == 0) trees.cache.CloseUnused();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQUAL(wrong.load(), 0);
  for (size_t i = nodes.size() - 1; i > 0; --i) trees.cache.Retire(*nodes[i]);
}

TEST(LongChainIsReleasedWithoutAsMuchStack) {
  auto node = std::make_shared<DirectoryNode>(nullptr, "", false, 0);
  std::weak_ptr<DirectoryNode> root = node;
  NodePointer middle;
  for (int level = 0; level < 300000; ++level) {
    node = std::make_shared<DirectoryNode>(std::move(node), "d", false, 0);
    if (level == 150000) middle = node;
  }
  node.reset();
  CHECK(!root.expired());
  middle.reset();
  CHECK(root.expired());
}

TEST(NoDescriptorIsLeftOpen) { CHECK_EQUAL(OpenDescriptors(), descriptors_at_start); }
