/** @file Families of episodes in the manner of GTA's queries: the tools are implied by the question, never named. */
import {
  chart, clevrPicture, clock, equationCard, label, menu, money, portrait, receipt, schedule, shelf, sign, streetMap, table, tray,
  type ChartStyle, type Priced, type ShelfItem,
} from '../pictures/pictures.ts';
import type { Box, Picture } from '../pictures/sketch.ts';
import { boxText, type Family, type Kit, type PlanStep } from './kit.ts';

const POSITIONS = { lt: 'top left corner', mt: 'top middle', rt: 'top right corner', lb: 'bottom left corner', mb: 'bottom middle', rb: 'bottom right corner' } as const;
type Position = keyof typeof POSITIONS;

const pickPosition = (kit: Kit): Position => kit.random.pick(Object.keys(POSITIONS) as Position[]);
const prices = (kit: Kit, names: readonly string[]): Priced[] => names.map((name) => ({ name, cents: kit.random.between(8, 180) * 5 }));
const pad = (cents: number): string => money(cents);
const sumOf = (items: readonly Priced[]): string => items.map((item) => pad(item.cents)).join(' + ');
const boxOf = (picture: Picture, name: string): Box => picture.entities.find((entity) => entity.name === name)?.box ?? [0, 0, 1, 1];
const code = (body: string): string => `\`\`\`python\n${body}\n\`\`\``;

function plotCommand(style: ChartStyle, title: string, rows: readonly { readonly name: string; readonly value: number }[], colour?: string): string {
  const names = JSON.stringify(rows.map((row) => row.name));
  const values = JSON.stringify(rows.map((row) => row.value));
  const tint = colour === undefined ? '' : `, color='${colour}'`;
  const draw = style === 'pie' ? 'plt.pie(values, labels=names)' : style === 'bar' ? `plt.bar(names, values${tint})` : `plt.plot(names, values${tint})`;
  return code(`import matplotlib.pyplot as plt\ndef solution():\n    names = ${names}\n    values = ${values}\n    figure = plt.figure()\n    ${draw}\n    plt.title('${title}')\n    return figure`);
}

function tableRows(kit: Kit, count: number): { name: string; value: number }[] {
  return kit.words('person', count).map((name) => ({ name, value: kit.random.between(4, 60) }));
}

const receiptSum: Family = {
  name: 'receiptSum', several: false,
  build(kit) {
    const foods = prices(kit, kit.words('food', kit.random.between(2, 4)));
    const others = prices(kit, kit.words('household', kit.random.between(1, 3)));
    const store = kit.word('store');
    const pictures = [receipt(store, kit.random.shuffle([...foods, ...others]))];
    return {
      pictures,
      query: kit.ask('How much did I spend on food here?', 'What did the food on this receipt cost altogether?', 'I only want to be paid back for food. How much is that?', 'Please add up everything edible on this receipt.'),
      steps: [kit.read(pictures, 0, 'the prices are printed on the receipt'), kit.calculate(sumOf(foods), 'the prices of the food have to be added up')],
    };
  },
};

const menuForParty: Family = {
  name: 'menuForParty', several: true,
  build(kit) {
    const dishes = prices(kit, kit.words('dish', 3));
    const dish = kit.random.pick(dishes);
    const icon = kit.word('icon');
    const [first, second] = kit.colours(2);
    const items: ShelfItem[] = Array.from({ length: kit.random.between(3, 9) }, () => ({ name: icon, color: first as NonNullable<typeof first> }));
    const pictures = [shelf(items), menu(kit.word('place'), dishes, second as NonNullable<typeof second>)];
    return {
      pictures,
      query: kit.ask(
        `For each ${icon} in the first picture, one guest orders the ${dish.name} of the second. What do they pay together?`,
        `Every ${icon} in the first image stands for a guest who wants the ${dish.name}. What is the bill?`,
        `We buy one ${dish.name} for every ${icon} shown in the first image. How much is that?`,
      ),
      steps: [
        kit.count(pictures, 0, icon, (name) => name === icon, 'the number of guests is the number of icons'),
        kit.read(pictures, 1, 'the price is on the menu'),
        kit.calculate(`${items.length} * ${pad(dish.cents)}`, 'the price has to be multiplied by the number of guests'),
      ],
    };
  },
};

const shareOfColour: Family = {
  name: 'shareOfColour', several: false,
  build(kit) {
    const pictures = [clevrPicture(kit.split, kit.seed, 0)];
    const entities = pictures[0]?.entities ?? [];
    const colour = kit.random.pick(entities).attributes['color'] as string;
    const some = entities.filter((entity) => entity.attributes['color'] === colour).length;
    return {
      pictures,
      query: kit.ask(`What percentage of the objects is ${colour}?`, `Which share of these objects, in percent, is ${colour}?`, `How many percent of the things here are ${colour}?`),
      steps: [
        kit.count(pictures, 0, `${colour} object`, (_, a) => a['color'] === colour, `the number of ${colour} objects is needed`),
        kit.count(pictures, 0, 'object', () => true, 'the number of all objects is needed'),
        kit.calculate(`${some} / ${entities.length} * 100`, 'the share has to be computed'),
      ],
    };
  },
};

const locateAttribute: Family = {
  name: 'locateAttribute', several: false,
  build(kit) {
    const [tint] = kit.colours(1);
    const colour = tint as NonNullable<typeof tint>;
    const person = kit.word('person');
    const pictures = kit.random.chance(0.5)
      ? [portrait(person, kit.word('city'), colour)]
      : [label(kit.word('maker'), kit.word('product'), '500 ml', colour)];
    const target = pictures[0]?.kind === 'portrait' ? 'coat' : 'bottle';
    const box = boxOf(pictures[0] as Picture, target);
    return {
      pictures,
      query: kit.ask(`What color is the ${target}?`, `I cannot tell colors apart. Which one does the ${target} have?`, `Please name the color of the ${target} in this picture.`),
      steps: [kit.find(0, target, box, `the ${target} has to be located`), kit.region(0, box, 'color', colour.name, `the color of the ${target} is asked for`)],
    };
  },
};

const compareAttributes: Family = {
  name: 'compareAttributes', several: false,
  build(kit) {
    const [a, b] = kit.words('icon', 2) as [string, string];
    const tints = kit.colours(2);
    const items: ShelfItem[] = [a, b].map((name) => ({ name, color: kit.random.pick(tints) }));
    const pictures = [shelf(items)];
    const steps = items.flatMap((item): PlanStep[] => {
      const box = boxOf(pictures[0] as Picture, item.name);
      return [kit.find(0, item.name, box, `the ${item.name} has to be located`), kit.region(0, box, 'color', item.color.name, `the color of the ${item.name} is needed`)];
    });
    return { pictures, query: kit.ask(`First look at the ${a}, then at the ${b}: are they of one color?`, `Starting with the ${a}: does it have the same color as the ${b}?`, `Take the ${a} and then the ${b}. Do their colors match?`), steps };
  },
};

const equation: Family = {
  name: 'equation', several: false,
  build(kit) {
    const x = kit.random.between(2, 12);
    const a = kit.random.between(2, 9);
    const c = kit.random.between(1, 20);
    const pictures = [equationCard([{ drawn: `${a}x + ${c} = ${a * x + c}`, latex: `${a}x+${c}=${a * x + c}` }], kit.random.chance(0.5))];
    const command = code(`from sympy import symbols, Eq, solve\ndef solution():\n    x = symbols('x')\n    return str(solve(Eq(${a}*x + ${c}, ${a * x + c}), x))`);
    return {
      pictures,
      query: kit.ask('What is x?', 'Find the unknown on this card.', 'For which x does this hold?', 'Solve what is written here for me.'),
      steps: [kit.read(pictures, 0, 'the equation has to be read from the image'), kit.solve('Solver', command, `[${x}]`, 'the equation has to be solved')],
    };
  },
};

const functionGraph: Family = {
  name: 'functionGraph', several: false,
  build(kit) {
    const a = kit.random.between(2, 5);
    const b = kit.random.between(1, 9);
    const pictures = [equationCard([{ drawn: `y = ${a}x^2 - ${b}`, latex: `y=${a}x^{2}-${b}` }], kit.random.chance(0.5))];
    const command = code(`import numpy as np\nimport matplotlib.pyplot as plt\ndef solution():\n    x = np.linspace(-10, 10, 400)\n    figure = plt.figure()\n    plt.plot(x, ${a}*x**2 - ${b})\n    return figure`);
    return {
      pictures,
      query: kit.ask('Show me how this function looks.', 'Draw the curve that this card describes.', 'I would like to see the graph of this for x from -10 to 10.'),
      steps: [kit.read(pictures, 0, 'the function has to be read from the image'), kit.draw('Plot', { command }, 'the function has to be drawn')],
    };
  },
};

const tableToChart: Family = {
  name: 'tableToChart', several: true,
  build(kit) {
    const rows = tableRows(kit, 4);
    const style = kit.random.pick(['bar', 'line', 'pie'] as const);
    const title = 'Points';
    const pictures = [table(title, ['Name', 'Points'], rows), chart(style, 'Sales', tableRows(kit, 3), kit.colours(3))];
    return {
      pictures,
      query: kit.ask('Draw the numbers of the first picture in the kind of chart that the second one shows.', 'Make a chart of the table, of the same kind as in the second image.', 'Turn the table into a diagram like the other image.'),
      steps: [kit.read(pictures, 0, 'the numbers are in the table'), kit.draw('Plot', { command: plotCommand(style, title, rows) }, `the second image is a ${style} chart`)],
    };
  },
};

const bestPlace: Family = {
  name: 'bestPlace', several: false,
  build(kit) {
    const ratings = kit.random.sample([31, 34, 36, 38, 40, 42, 44, 45, 47, 49], 3);
    const places = kit.words('place', 3).map((name, i) => ({ name, rating: (ratings[i] as number) / 10 }));
    const pictures = [streetMap(places, kit.random)];
    const best = places.toSorted((a, b) => b.rating - a.rating)[0] as (typeof places)[number];
    const line = (pictures[0] as Picture).lines.find((l) => l.text.startsWith(best.name));
    return {
      pictures,
      query: kit.ask('Mark the place with the best rating, with its name beside the box.', 'Where should I eat? Frame the best rated place and write its name there.', 'Put a box with its name around the highest rated place on this map.'),
      steps: [
        kit.read(pictures, 0, 'names and ratings are written on the map'),
        kit.draw('DrawBox', { image: kit.image(0), bbox: boxText(line?.box ?? [0, 0, 1, 1]), annotation: best.name }, `${best.name} has the best rating`, 0),
      ],
    };
  },
};

const nextFilm: Family = {
  name: 'nextFilm', several: false,
  build(kit) {
    const starts = kit.random.sample([1020, 1055, 1090, 1125, 1160, 1200, 1235, 1270], 3).toSorted((a, b) => a - b);
    const films = kit.words('film', 3).map((name, i) => ({ name, start: starts[i] as number }));
    const pictures = [schedule(films)];
    const chosen = films[kit.random.int(films.length)] as (typeof films)[number];
    const end = chosen.start - kit.random.between(5, 15);
    const line = (pictures[0] as Picture).lines.find((l) => l.text.endsWith(chosen.name));
    return {
      pictures,
      query: kit.ask(`I can be there at ${clock(end)}. Box the first film that I can see from its start.`, `Arriving at ${clock(end)}, which film can I catch first? Put a box around it.`, `Frame the earliest film that begins after ${clock(end)}.`),
      steps: [kit.read(pictures, 0, 'the times are on the schedule'), kit.draw('DrawBox', { image: kit.image(0), bbox: boxText(line?.box ?? [0, 0, 1, 1]) }, `${chosen.name} at ${clock(chosen.start)} is the first after ${clock(end)}`, 0)],
    };
  },
};

const labelFact: Family = {
  name: 'labelFact', several: false,
  build(kit) {
    const maker = kit.word('maker');
    const product = kit.word('product');
    const year = kit.random.between(1890, 1990);
    const [tint] = kit.colours(1);
    const pictures = [label(maker, product, '250 ml', tint as NonNullable<typeof tint>)];
    return {
      pictures,
      query: kit.ask('In which year was the maker of this founded?', 'When did the company behind this bottle start?', 'Since what year does the brand on this label exist?'),
      steps: [kit.read(pictures, 0, 'the maker is named on the label'), kit.search(`${maker} founding year`, false, [`${maker} was founded in ${year}.`], 'the founding year is one fact, so the question is not open-ended')],
    };
  },
};

const openSearch: Family = {
  name: 'openSearch', several: false,
  build(kit) {
    const city = kit.word('city');
    const [tint] = kit.colours(1);
    const pictures = [portrait(kit.word('person'), city, tint as NonNullable<typeof tint>)];
    const results = ['old town', 'harbor', 'market', 'museum'].map((place) => `${city}: visit the ${place}.`);
    return {
      pictures,
      query: kit.ask('What could I do if I travelled to this city?', 'Any ideas for a weekend in the city behind the person?', 'Suggest things to see in the city shown here.'),
      steps: [kit.describe(pictures, 0, 'the city has to be recognised'), kit.search(`things to do in ${city}`, true, results, 'ideas are asked for, so the question is open-ended')],
    };
  },
};

const caption: Family = {
  name: 'caption', several: false,
  build(kit) {
    const [tint] = kit.colours(1);
    const pictures = [portrait(kit.word('person'), kit.word('city'), tint as NonNullable<typeof tint>)];
    const position = pickPosition(kit);
    const text = (pictures[0] as Picture).description;
    return {
      pictures,
      query: kit.ask(`Write a caption of what is seen here in the ${POSITIONS[position]}, in blue.`, `Put a short description of this photo on it: ${POSITIONS[position]}, blue letters.`, `Label this photo with what it shows, blue, ${POSITIONS[position]}.`),
      steps: [kit.describe(pictures, 0, 'the caption says what the image shows'), kit.draw('AddText', { image: kit.image(0), text, position, color: 'blue' }, 'the caption has to be written on the image', 0)],
    };
  },
};

const styliseAndTitle: Family = {
  name: 'styliseAndTitle', several: false,
  build(kit) {
    const [tint] = kit.colours(1);
    const pictures = [portrait(kit.word('person'), kit.word('city'), tint as NonNullable<typeof tint>)];
    const style = kit.word('style');
    const position = pickPosition(kit);
    const first = kit.draw('ImageStylization', { image: kit.image(0), instruction: `turn it into ${style}` }, 'the style has to change first', 0);
    const described: PlanStep = { ...kit.describe(pictures, 0, 'the title says what the image shows'), arguments: { image: first.output.content } };
    return {
      pictures,
      query: kit.ask(`Make this ${style}, then add a title for the result at the ${POSITIONS[position]}.`, `I want this as ${style} with a fitting title (${POSITIONS[position]}).`, `Restyle this as ${style} and then title the new image at the ${POSITIONS[position]}.`),
      steps: [first, described, kit.draw('AddText', { image: first.output.content, text: (pictures[0] as Picture).description, position }, 'the title has to be written on the new image')],
    };
  },
};

const pictureFromIngredients: Family = {
  name: 'pictureFromIngredients', several: false,
  build(kit) {
    const ingredients = kit.words('food', 4);
    const pictures = [tray(ingredients, kit.colours(3))];
    return {
      pictures,
      query: kit.ask('Show me a meal that could be made of these.', 'Paint a dish with what is on the tray.', 'What could a plate made of these ingredients look like? Show me.'),
      steps: [kit.describe(pictures, 0, 'the ingredients have to be recognised'), kit.draw('TextToImage', { keywords: `a meal, ${ingredients.join(', ')}` }, 'a new image of a meal is asked for')],
    };
  },
};

const compareReceipts: Family = {
  name: 'compareReceipts', several: true,
  build(kit) {
    const stores = kit.words('store', 2);
    const items = stores.map(() => prices(kit, kit.words('food', 3)));
    const pictures = stores.map((store, i) => receipt(store, items[i] as Priced[]));
    return {
      pictures,
      query: kit.ask('How much more is the first receipt than the second? A negative number is fine.', 'What is the difference between the sum of the first and the sum of the second receipt?', 'Subtract the total of the second receipt from that of the first.'),
      steps: [
        kit.read(pictures, 0, 'the prices of the first receipt are needed'),
        kit.read(pictures, 1, 'the prices of the second receipt are needed'),
        kit.calculate(`(${sumOf(items[0] as Priced[])}) - (${sumOf(items[1] as Priced[])})`, 'the totals have to be compared'),
      ],
    };
  },
};

const signNote: Family = {
  name: 'signNote', several: false,
  build(kit) {
    const text = kit.word('sign');
    const [tint] = kit.colours(1);
    const pictures = [sign(text, tint as NonNullable<typeof tint>, kit.random.pick(['triangle', 'disc', 'board']))];
    const position = pickPosition(kit);
    return {
      pictures,
      query: kit.ask(`Repeat what the sign says in large letters at the ${POSITIONS[position]}.`, `My eyes are weak: write the words of the sign again at the ${POSITIONS[position]}.`, `Copy the words of the sign to the ${POSITIONS[position]} of the photo.`),
      steps: [kit.read(pictures, 0, 'the words on the sign have to be read'), kit.draw('AddText', { image: kit.image(0), text, position }, 'the words have to be written again', 0)],
    };
  },
};

const chartTotal: Family = {
  name: 'chartTotal', several: false,
  build(kit) {
    const rows = tableRows(kit, 4);
    const style = kit.random.pick(['bar', 'pie'] as const);
    const pictures = [chart(style, 'Visitors', rows, kit.colours(3))];
    const [a, b] = kit.random.sample(rows, 2) as [(typeof rows)[number], (typeof rows)[number]];
    return {
      pictures,
      query: kit.ask(`What do ${a.name} and ${b.name} have together?`, `Add the value of ${a.name} to that of ${b.name}.`, `What is the sum of the numbers of ${a.name} and ${b.name}?`),
      steps: [kit.read(pictures, 0, 'the values are written in the chart'), kit.calculate(`${a.value} + ${b.value}`, 'the two values have to be added')],
    };
  },
};

const countOnly: Family = {
  name: 'countOnly', several: false,
  build(kit) {
    const names = kit.words('icon', 2);
    const tints = kit.colours(2);
    const items: ShelfItem[] = Array.from({ length: kit.random.between(5, 16) }, () => ({ name: kit.random.pick(names), color: kit.random.pick(tints) }));
    const wanted = kit.random.pick(items).name;
    const pictures = [shelf(items)];
    return {
      pictures,
      query: kit.ask(`How many ${wanted}s stand here?`, `Tell me the number of ${wanted}s.`, `I need to know how many ${wanted}s are on the shelf.`),
      steps: [kit.count(pictures, 0, wanted, (name) => name === wanted, `the ${wanted}s have to be counted`)],
    };
  },
};

const stockTaking: Family = {
  name: 'stockTaking', several: true,
  build(kit) {
    const icon = kit.word('icon');
    const tints = kit.colours(2);
    const numbers = [0, 1, 2].map(() => kit.random.between(2, 10));
    const pictures = numbers.map((n) => shelf(Array.from({ length: n }, () => ({ name: icon, color: kit.random.pick(tints) }))));
    const position = pickPosition(kit);
    const total = numbers.reduce((a, b) => a + b, 0);
    return {
      pictures,
      query: kit.ask(`How many ${icon}s are on all three shelves? Write the number in green on the first image, ${POSITIONS[position]}.`, `Go through the shelves in order, count the ${icon}s, and write the total in green at the ${POSITIONS[position]} of the first image.`, `Total the ${icon}s of these shelves, one after the other, and note it in green on the first picture (${POSITIONS[position]}).`),
      steps: [
        ...pictures.map((_, i) => kit.count(pictures, i, icon, (name) => name === icon, `shelf ${i + 1} has to be counted`)),
        kit.calculate(numbers.join(' + '), 'the counts have to be added up'),
        kit.draw('AddText', { image: kit.image(0), text: String(total), position, color: 'green' }, 'the total has to be written on the first image', 0),
      ],
    };
  },
};

/** All families: 20, of one to eight steps once the descriptions that several images need are included. */
export const FAMILIES: readonly Family[] = [
  receiptSum, menuForParty, shareOfColour, locateAttribute, compareAttributes, equation, functionGraph, tableToChart, bestPlace, nextFilm,
  labelFact, openSearch, caption, styliseAndTitle, pictureFromIngredients, compareReceipts, signNote, chartTotal, countOnly, stockTaking,
];
